"""`python -m resnet_cli` is the `resnet` command."""

from resnet_cli.cli.main import main

if __name__ == "__main__":
    main()
