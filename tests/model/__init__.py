"""An exhaustive explorer over the real state machine; see docs/explanation/model-check.md."""
