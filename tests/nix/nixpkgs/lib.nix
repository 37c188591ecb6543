# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# Of nixpkgs' library what is used, and nothing else: a name that is not here fails.
rec {
  inherit (builtins) concatStringsSep;
  genAttrs = names: make: builtins.listToAttrs (map (name: { inherit name; value = make name; }) names);
  getExe = package: "${package}/bin/${package.meta.mainProgram}";
  hasInfix = infix: text: builtins.length (builtins.split (escapeRegex infix) text) > 1;
  escapeRegex = builtins.replaceStrings [ "." "+" ] [ "\\." "\\+" ];
  importTOML = path: builtins.fromTOML (builtins.readFile path);
  importJSON = path: builtins.fromJSON (builtins.readFile path);
  makeBinPath = packages: builtins.concatStringsSep ":" (map (package: "${package}/bin") packages);
  optionalAttrs = condition: attrs: if condition then attrs else { };
  optionals = condition: list: if condition then list else [ ];
  licenses = { bsd3 = { spdxId = "BSD-3-Clause"; }; };

  # A set of files is what it takes of a path (a text), and what it may hold below a folder.
  fileset = rec {
    coerce =
      this:
      if this ? takes then this else rec {
        inside = path: within path "${toString this}" || within "${toString this}" path;
        takes = path: within path "${toString this}";
      };
    within = path: folder: path == folder || builtins.substring 0 (builtins.stringLength folder + 1) path == "${folder}/";
    unions = sets: {
      inside = path: builtins.any (set: (coerce set).inside path) sets;
      takes = path: builtins.any (set: (coerce set).takes path) sets;
    };
    difference = positive: negative: {
      inside = path: (coerce positive).inside path && !(coerce negative).takes path;
      takes = path: (coerce positive).takes path && !(coerce negative).takes path;
    };
    toSource =
      { root, fileset }:
      builtins.path {
        path = root;
        name = "source";
        filter = path: type: (if type == "directory" then (coerce fileset).inside else (coerce fileset).takes) path;
      };
  };
}
