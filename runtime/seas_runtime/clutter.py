"""Files that systems, file managers and file shares leave in folders without being asked.

They are nobody's work: a folder that holds nothing else counts as empty, and no command reads them.
"""

from __future__ import annotations

_NAMES = frozenset(
    {
        ".ds_store",  # macOS, as all names up to .temporaryitems
        "__macosx",
        ".apdisk",
        ".appledouble",
        ".documentrevisions-v100",
        ".fseventsd",
        ".spotlight-v100",
        ".temporaryitems",
        ".trashes",
        "icon\r",
        "thumbs.db",  # Windows, as all names up to "system volume information"
        "ehthumbs.db",
        "desktop.ini",
        "$recycle.bin",
        "system volume information",
        "lost+found",  # ext2 to ext4
        ".directory",  # KDE
        ".hidden",  # GNOME
        ".gitkeep",  # what keeps an empty folder in git
        ".keep",
        "@eadir",  # Synology
        "#recycle",
        ".@__thumb",  # QNAP
        "@recycle",
        ".stfolder",  # Syncthing
        ".dropbox",
        ".dropbox.cache",
    }
)
_STARTS = ("._", ".trash-", ".nfs", ".fuse_hidden", ".smbdelete", ".afpdeleted")
_ENDS = (":zone.identifier", ":encryptable", "@synoeastream", "@synoresource")


def is_clutter(name: str) -> bool:
    """Return whether a file or folder of this name (without its path) is such clutter."""
    name = name.lower()
    return name in _NAMES or name.startswith(_STARTS) or name.endswith(_ENDS)
