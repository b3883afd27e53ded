"""Build the nano vision-language models that ship with the package: `python -m unsee.nano`."""
