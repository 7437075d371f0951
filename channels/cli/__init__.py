"""The command ``option-channels``: what a shell can ask of this library."""
