"""What is wrong with a product's files, which of them can be used, and how they are to be seen."""

from seas_train.data.checking.files import Checked, check_files

__all__ = ["Checked", "check_files"]
