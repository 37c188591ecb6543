#!/bin/bash
# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# installShellCompletion --cmd NAME --bash FILE --fish FILE --zsh FILE
set -eu
[ "$#" = 8 ] && [ "$1 $3 $5 $7" = "--cmd --bash --fish --zsh" ]
mkdir -p "$out"/share/{bash-completion/completions,fish/vendor_completions.d,zsh/site-functions}
cat "$4" >"$out/share/bash-completion/completions/$2.bash"
cat "$6" >"$out/share/fish/vendor_completions.d/$2.fish"
cat "$8" >"$out/share/zsh/site-functions/_$2"
for file in "$out"/share/*/*/*; do [ -s "$file" ]; done
