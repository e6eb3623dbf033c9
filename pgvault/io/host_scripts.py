"""The small scripts of `Host`, in POSIX sh, for dash, bash and busybox."""

from __future__ import annotations

from typing import Final

ABSENT: Final = 44
"""Exit status: the file does not exist."""
IS_DIRECTORY: Final = 45
"""Exit status: the path is a directory."""

READ_FILE: Final = f"""# read the file
[ -e "$1" ] || [ -L "$1" ] || exit {ABSENT}
exec 0< "$1" && head -c "$2"
"""

# The length is compared before the rename, since an interrupted connection looks like the end of the input.
WRITE_FILE: Final = f"""# write the file
[ ! -d "$1" ] || exit {IS_DIRECTORY}
case $1 in */*) directory=${{1%/*}}/ ;; *) directory=./ ;; esac
new=${{directory}}.pgvault-new-$$
trap 'rm -f "$new"' EXIT
trap 'exit 1' HUP INT TERM
umask 077
cat > "$new" || exit 1
[ "$(wc -c < "$new")" -eq "$3" ] || {{ echo "the input was cut short" >&2; exit 1; }}
chmod "$2" "$new" || exit 1
sync "$new" 2>/dev/null || sync
mv -f "$new" "$1" || exit 1
sync "$directory" 2>/dev/null || sync
"""

FREE_KIB: Final = r"""df -Pk "$path" | awk 'NR > 1 { line = line " " $0 } END {
  if (match(line, /[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+%/)) {
    split(substr(line, RSTART, RLENGTH), column); print column[3] } }'"""
"""Free KiB on the file system of $path."""

FREE_BYTES: Final = f"""# look at the free space
path=$1
while [ ! -e "$path" ]; do
  case $path in */*) path=${{path%/*}} ;; *) path=. ;; esac
  [ -n "$path" ] || path=/
done
{FREE_KIB}
"""
