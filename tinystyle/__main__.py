"""`python -m tinystyle`, the same as the command `tinystyle`."""

from tinystyle.commands.app import main

if __name__ == "__main__":
    main()
