"""``python -m channels.cli``: the same command, by module."""

from channels.cli.main import main

if __name__ == "__main__":
    main()
