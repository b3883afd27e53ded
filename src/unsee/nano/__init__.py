"""How the shipped nano vision-language model is made from nothing: `python -m unsee.nano`."""
