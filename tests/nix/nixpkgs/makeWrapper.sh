#!/bin/bash
# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# makeWrapper ORIGINAL WRAPPER --suffix PATH : FOLDERS
set -eu
[ "$#" = 6 ] && [ "$3 $4 $5" = "--suffix PATH :" ] && [ -x "$1" ]
mkdir -p "$(dirname "$2")"
printf '#!/bin/bash\nexport PATH="$PATH:%s"\nexec %s "$@"\n' "$6" "$1" >"$2"
chmod +x "$2"
