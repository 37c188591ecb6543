# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
{ system, overlays ? [ ] }:
let
  lib = import ./lib.nix;
  host = lib.importJSON ./host.json; # where this computer's programs are
  site = "lib/python3.13/site-packages";
  fix = make: let self = make self; in self;
  extend = make: change: final: let before = make final; in before // change final before;
  call = scope: file: more: let f = import file; in f (builtins.intersectAttrs (builtins.functionArgs f) scope // more);
  # Whatever is called this way can be changed by these two, a mere set of packages too.
  overridable = package: package // { override = _: throw "not here"; overrideDerivation = _: throw "not here"; };
  callWith = scope: file: more: overridable (call scope file more);

  derive = name: { tools ? [ ], environ ? { }, passthru ? { }, meta ? { } }: script: derivation (environ // {
    inherit name system; builder = "/bin/bash";
    outputs = [ "out" ]; # 'nix develop' reads it
    # Nix kills whoever has closed its log and not quite ended; somebody else holds that open for a moment.
    args = [ "-euo" "pipefail" "-c" "exec 9> >(cat; sleep 0.1); ${script}" ];
    PATH = lib.concatStringsSep ":" (map (tool: "${tool}/bin") tools ++ [ host.path ]);
  }) // passthru // { inherit meta; };

  empty = name: derive name { } "mkdir $out";
  # The computer's own program; where it has none, one that says so.
  program = name: mainProgram: derive name { meta = { inherit mainProgram; }; } ''
    mkdir -p $out/bin; if found=$(command -v ${mainProgram}); then ln -s "$found" $out/bin; exit; fi
    printf '#!/bin/bash\necho "${mainProgram} is not on this computer." >&2; exit 1\n' >$out/bin/${mainProgram}; chmod +x $out/bin/*
  '';
  script = name: text: derive name { environ = { inherit text; }; } ''
    mkdir -p $out/bin; printf '#!/bin/bash\nset -eu\n%s' "$text" >$out/bin/${name}; chmod +x $out/bin/${name}
  '';

  pythonPackage = pname: passthru: derive "python3.13-${pname}" {
    passthru = { inherit pname; } // passthru;
    environ.needs = passthru.dependencies or [ ];
  };
  python = pkgs: final: {
    inherit lib pkgs;
    inherit (pkgs) stdenv;
    isPy313 = true;
    pythonPackages = final;
    callPackage = callWith (pkgs // final);
    toPythonModule = package: package // { pythonModule = pkgs.python313; };

    # Not built: this computer's Python has the package, in whatever version.
    buildPythonPackage = { pname, version, pyproject, src, nativeBuildInputs, buildInputs, dependencies
      , optional-dependencies, pythonImportsCheck, doCheck }:
      assert !pyproject && builtins.isString src.drvPath && builtins.isList (nativeBuildInputs ++ buildInputs);
      pythonPackage pname { inherit version dependencies optional-dependencies; } ''
        for name in ${toString pythonImportsCheck}; do
          ${host.python} -c "import importlib.util as u; assert u.find_spec('$name')"
        done
        mkdir $out
      '';

    mkPythonEditablePackage = { pname, version, root, dependencies, scripts }:
      pythonPackage pname { inherit version dependencies; editable = root; } "mkdir $out";

    buildPythonApplication = { pname, version, pyproject, src, postPatch, build-system, dependencies, nativeBuildInputs
      , dontWrapPythonPrograms, postInstall, nativeCheckInputs, checkPhase, pythonImportsCheck, meta }:
      derive "${pname}-${version}" {
        tools = assert pyproject && dontWrapPythonPrograms; nativeBuildInputs ++ nativeCheckInputs;
        environ.needs = build-system ++ dependencies;
        passthru = { inherit pname version dependencies; };
        inherit meta; } ''
        cp -r ${src} source; chmod -R u+w source; cd source
        ${postPatch}
        mkdir -p $out/bin $out/${site}/${pname}-${version}.dist-info && cp -r ${pname} $out/${site}
        printf 'Metadata-Version: 2.1\nName: ${pname}\nVersion: ${version}\n' >METADATA
        mv METADATA $out/${site}/*.dist-info; export PYTHONPATH=$out/${site} PYTHONDONTWRITEBYTECODE=1
        printf '#!${host.python}\nfrom ${pname}.cli import main\nmain()\n' >$out/bin/${pname}; chmod +x $out/bin/*
        ${postInstall}
        (${checkPhase})
        for name in ${toString pythonImportsCheck}; do ${host.python} -c "import $name"; done
      '';
  } // lib.genAttrs [ "wheelUnpackHook" "pypaInstallHook" ] empty
    // lib.genAttrs host.packages (pname: pythonPackage pname { } "mkdir $out");

  packages = final: {
    inherit lib;
    callPackage = callWith final;
    callPackages = file: more: builtins.mapAttrs (_: overridable) (call final file more);
    pythonPackagesExtensions = [ ];
    stdenv = { hostPlatform = { inherit system; isLinux = system != "aarch64-darwin"; }; cc.cc.lib = empty "gcc-lib"; };
    autoPatchelfHook = empty "auto-patchelf-hook";
    # There is no network here: it is described, and never downloaded.
    fetchPypi = { pname, version, format, dist, python, abi, platform, hash }: derivation {
      name = assert format == "wheel"; "${pname}-${version}-${python}-${abi}-${platform}.whl";
      inherit system dist;
      builder = "/bin/false"; outputHash = hash; outputHashAlgo = "sha256";
    };
    runCommand = name: { nativeBuildInputs ? [ ], passthru ? { }, meta ? { } }:
      derive name { tools = nativeBuildInputs; inherit passthru meta; };
    mkShell = { packages, shellHook ? "" }: derive "nix-shell" { tools = packages; environ = { inherit shellHook; }; } "false";
    makeWrapper = script "makeWrapper" ''
      [ "$#" = 6 ] && [ "$3 $4 $5" = "--suffix PATH :" ] && [ -x "$1" ] && mkdir -p "$(dirname "$2")"
      printf '#!/bin/bash\nexport PATH="$PATH:%s"\nexec %s "$@"\n' "$6" "$1" >"$2" && chmod +x "$2"
    '';
    installShellFiles = script "installShellCompletion" ''
      [ "$#" = 8 ] && [ "$1 $3 $5 $7" = "--cmd --bash --fish --zsh" ]
      mkdir -p "$out"/share/{bash-completion/completions,fish/vendor_completions.d,zsh/site-functions} && cd "$out/share"
      cat "$4" >bash-completion/completions/$2.bash
      cat "$6" >fish/vendor_completions.d/$2.fish
      cat "$8" >zsh/site-functions/_$2
      for file in */*/*; do [ -s "$file" ]; done
    '';
    python313 = {
      sitePackages = site;
      pkgs = fix (builtins.foldl' extend (python final) final.pythonPackagesExtensions);
      # What is in it is found by all that is started from it; programs are this computer's Python's.
      withPackages = choose: let chosen = choose final.python313.pkgs; in derive "python3.13-env" { } ''
        mkdir -p $out/bin
        wrap() {
          printf '#!/bin/bash\nexport PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="%s"\nexec %s "$@"\n' \
            '${lib.concatStringsSep ":" (map (one: one.editable or "${one}/${site}") chosen)}' "$2" >$out/bin/$1; chmod +x $out/bin/$1
        }
        wrap python ${host.python}; for name in ${toString (map (one: one.pname) chosen)}; do wrap $name "${host.python} -m $name"; done
        for path in ${toString (map (one: "${one}/bin/*") chosen)}; do [ ! -e $path ] || wrap ''${path##*/} $path; done
      '';
    };
  } // builtins.mapAttrs program {
    hcloud = "hcloud"; nixfmt = "nixfmt"; openssh = "ssh"; ruff = "ruff"; shellcheck = "shellcheck"; shfmt = "shfmt"; uv = "uv";
  };
in
fix (builtins.foldl' extend packages overlays)
