"""`python -m advisor.cli`."""

from advisor.cli.app import main

main()
