# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# Of nixpkgs' library what is used, and nothing else: a name that is not here fails.
rec {
  inherit (builtins) concatStringsSep;
  genAttrs = names: make: builtins.listToAttrs (map (name: { inherit name; value = make name; }) names);
  getExe = package: "${package}/bin/${package.meta.mainProgram}";
  hasInfix = infix: text: builtins.replaceStrings [ infix ] [ "" ] text != text;
  importTOML = path: builtins.fromTOML (builtins.readFile path);
  importJSON = path: builtins.fromJSON (builtins.readFile path);
  makeBinPath = packages: concatStringsSep ":" (map (package: "${package}/bin") packages);
  optionalAttrs = condition: attrs: if condition then attrs else { };
  optionals = condition: list: if condition then list else [ ];
  escapeShellArgs = words: concatStringsSep " " (map (word: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] (toString word)}'") words);
  mkEnableOption = description: mkOption { inherit description; default = false; type = types.bool; };
  mkIf = condition: content: assert builtins.isBool condition; { inherit condition content; };
  mkOption = { type, description, default ? null, defaultText ? null, example ? null }: { inherit type default; };
  types = { bool = "bool"; package = "package"; str = "str"; nullOr = type: "null or ${type}"; };
  licenses.bsd3.spdxId = "BSD-3-Clause";

  # A set of files: which of them it takes, and which folders lead to some.
  fileset = rec {
    within = path: folder: path == folder || builtins.substring 0 (builtins.stringLength folder + 1) path == "${folder}/";
    coerce = this: if this ? takes then this else rec {
      takes = path: within path (toString this);
      leads = path: takes path || within (toString this) path;
    };
    unions = sets: {
      takes = path: builtins.any (set: (coerce set).takes path) sets;
      leads = path: builtins.any (set: (coerce set).leads path) sets;
    };
    difference = positive: negative: {
      takes = path: (coerce positive).takes path && !(coerce negative).takes path;
      leads = path: (coerce positive).leads path && !(coerce negative).takes path;
    };
    toSource = { root, fileset }: builtins.path {
      path = root;
      name = "source";
      filter = path: type: (if type == "directory" then (coerce fileset).leads else (coerce fileset).takes) path;
    };
  };
}
