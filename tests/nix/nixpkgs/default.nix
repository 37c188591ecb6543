# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
{
  system,
  overlays ? [ ],
}:
let
  lib = import ./lib.nix;
  host = lib.importJSON ./host.json;
  fix = make: let self = make self; in self;
  extend = make: change: final: let before = make final; in before // change final before;
  callWith = scope: file: arguments: let f = import file; in f (builtins.intersectAttrs (builtins.functionArgs f) scope // arguments);
  onPath = tools: builtins.concatStringsSep ":" (map (tool: "${tool}/bin") tools ++ [ host.path ]);

  derive =
    { name, tools ? [ ], script, environ ? { }, passthru ? { }, meta ? { } }:
    derivation (environ // {
      inherit name system;
      builder = "/bin/bash";
      outputs = [ "out" ];
      # Nix kills whoever has closed its log and not quite ended; somebody else holds it open for that moment.
      args = [ "-euo" "pipefail" "-c" "exec 9> >(cat; sleep 0.1); ${script}" ];
      PATH = onPath tools;
    }) // passthru // { inherit meta passthru; };

  # The computer's own program, or nothing where it has none.
  program =
    name: mainProgram:
    derive {
      inherit name;
      meta = { inherit mainProgram; };
      script = ''mkdir -p $out/bin; if found=$(command -v ${mainProgram}); then ln -s "$found" $out/bin; fi'';
    };
  script = name: text: derive { inherit name; script = "mkdir -p $out/bin; cp ${builtins.toFile name text} $out/bin/${name}; chmod +x $out/bin/${name}"; };

  pythonBase = pkgs: final: {
    inherit lib pkgs;
    inherit (pkgs) stdenv;
    isPy313 = true;
    pythonPackages = final;
    callPackage = callWith (pkgs // final);
    toPythonModule = package: package // { pythonModule = true; };
    wheelUnpackHook = derive { name = "wheel-unpack-hook"; script = "mkdir $out"; };
    pypaInstallHook = derive { name = "pypa-install-hook"; script = "mkdir $out"; };

    fetchPypi =
      { pname, version, hash, format ? "setuptools", dist ? "py2.py3", python ? "py2.py3", abi ? "none", platform ? "any" }:
      assert format == "wheel";
      derivation {
        name = "${pname}-${version}-${python}-${abi}-${platform}.whl";
        inherit system dist;
        builder = "/bin/false";
        outputHash = hash;
        outputHashAlgo = "sha256";
      };

    # Not built: the computer's Python has the package, whatever its version.
    buildPythonPackage =
      { pname, version, src, pyproject, nativeBuildInputs, buildInputs, dependencies, optional-dependencies, pythonImportsCheck, doCheck }:
      assert !pyproject && !doCheck && builtins.isString src.drvPath;
      derive {
        name = "python3.13-${pname}-${version}";
        passthru = { inherit pname version dependencies optional-dependencies; };
        script = "for name in ${toString pythonImportsCheck}; do ${host.python} -c \"import importlib.util as u; assert u.find_spec('$name')\"; done; mkdir $out";
      };

    mkPythonEditablePackage =
      { pname, version, root, dependencies ? [ ], scripts ? { } }:
      derive {
        name = "python3.13-${pname}-${version}";
        passthru = { inherit pname version dependencies; editable = root; };
        script = "mkdir -p $out/bin";
      };

    buildPythonApplication =
      { pname, version, pyproject, src, postPatch, build-system, dependencies, nativeBuildInputs, dontWrapPythonPrograms, postInstall, pythonImportsCheck, meta }:
      assert pyproject && dontWrapPythonPrograms;
      derive {
        name = "${pname}-${version}";
        tools = nativeBuildInputs;
        inherit meta;
        passthru = { inherit pname version dependencies; };
        script = ''
          cp -r ${src} source; chmod -R u+w source; cd source
          ${postPatch}
          site=$out/${pkgs.python313.sitePackages}
          mkdir -p $out/bin $site/${pname}-${version}.dist-info
          cp -r ${pname} $site
          printf 'Metadata-Version: 2.4\nName: ${pname}\nVersion: ${version}\n' >$site/${pname}-${version}.dist-info/METADATA
          printf '#!${host.python}\nfrom ${pname}.cli import main\nmain()\n' >$out/bin/${pname}
          chmod +x $out/bin/${pname}
          export PYTHONPATH=$site PYTHONDONTWRITEBYTECODE=1
          ${postInstall}
          for name in ${toString pythonImportsCheck}; do ${host.python} -c "import $name"; done
        '';
      };
  } // lib.genAttrs (lib.importJSON ./python.json) (pname: derive { name = "python3.13-${pname}"; passthru = { inherit pname; version = "0"; }; script = "mkdir $out"; });

  base = final: {
    inherit lib;
    callPackage = callWith final;
    pythonPackagesExtensions = [ ];
    stdenv = { hostPlatform = { inherit system; isLinux = builtins.match ".*-linux" system != null; }; cc.cc.lib = final.openssh; };
    autoPatchelfHook = derive { name = "auto-patchelf-hook"; script = "mkdir $out"; };
    runCommand = name: { nativeBuildInputs ? [ ], passthru ? { }, meta ? { } }: script: derive { tools = nativeBuildInputs; inherit name passthru meta script; };
    mkShell = { packages, shellHook ? "" }: derive { name = "nix-shell"; tools = packages; script = "export >$out"; environ = { inherit shellHook; }; };
    makeWrapper = script "makeWrapper" (builtins.readFile ./makeWrapper.sh);
    installShellFiles = script "installShellCompletion" (builtins.readFile ./installShellCompletion.sh);
    hcloud = program "hcloud" "hcloud";
    nixfmt = program "nixfmt" "nixfmt";
    openssh = program "openssh" "ssh";
    ruff = program "ruff" "ruff";
    shellcheck = program "shellcheck" "shellcheck";
    shfmt = program "shfmt" "shfmt";
    uv = program "uv" "uv";
    python313 = {
      sitePackages = "lib/python3.13/site-packages";
      pkgs = fix (builtins.foldl' extend (pythonBase final) final.pythonPackagesExtensions);
      withPackages = choose: let packages = choose final.python313.pkgs; in derive {
        name = "python3.13-env";
        script = ''
          mkdir -p $out/bin
          wrap() { printf '#!/bin/bash\nexport PYTHONPATH="%s" PYTHONDONTWRITEBYTECODE=1\nexec %s "$@"\n' '${builtins.concatStringsSep ":" (map (package: package.editable or "${package}/lib/python3.13/site-packages") packages)}' "$2" >$out/bin/$1; chmod +x $out/bin/$1; }
          wrap python ${host.python}
          for name in ${toString (map (package: package.pname) packages)}; do
            if [ -x "$(dirname ${host.python})/$name" ]; then wrap $name "${host.python} -m $name"; fi
          done
          ${builtins.concatStringsSep "\n" (map (package: "for path in ${package}/bin/*; do if [ -e $path ]; then wrap \${path##*/} $path; fi; done") packages)}
        '';
      };
    };
  };
in
fix (builtins.foldl' extend base overlays)
