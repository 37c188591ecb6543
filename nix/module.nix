# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# For NixOS: deletes, by a timer, the clusters of a project whose deadline has passed. The token is a credential of the
# service's, which runs as a user that exists only meanwhile.
{ self }:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.scherbelberg-gc;
  filters = lib.optionals (cfg.owner != null) [
    "--owner"
    cfg.owner
  ] ++ lib.optionals (cfg.prefix != null) [
    "--prefix"
    cfg.prefix
  ];
in
{
  options.services.scherbelberg-gc = {
    enable = lib.mkEnableOption "the deletion of overdue Dask clusters in a project of Hetzner Cloud";
    package = lib.mkOption {
      type = lib.types.package;
      default = self.packages.${pkgs.stdenv.hostPlatform.system}.default;
      defaultText = "the flake's own";
      description = "The scherbelberg that does it.";
    };
    tokenFile = lib.mkOption {
      # Text and no path, which would be copied into the store for everybody to read.
      type = lib.types.str;
      example = "/run/secrets/hcloud-token";
      description = "File on the machine that holds the project's API token; root alone need read it.";
    };
    owner = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "anna_at_laptop";
      description = "Only clusters of this owner, as `scherbelberg ls` shows it.";
    };
    prefix = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      description = "Only clusters of this name.";
    };
    startAt = lib.mkOption {
      type = lib.types.str;
      default = "*:0/15";
      example = "hourly";
      description = "When, as systemd.time(7) writes it.";
    };
  };

  config = lib.mkIf cfg.enable {
    systemd.services.scherbelberg-gc = {
      description = "Deletes overdue Dask clusters in a project of Hetzner Cloud";
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      environment.SCHERBELBERG_HOME = "/var/lib/scherbelberg-gc";
      script = ''
        exec ${lib.getExe cfg.package} gc --token-file "$CREDENTIALS_DIRECTORY/token" --progress plain ${lib.escapeShellArgs filters}
      '';
      serviceConfig = {
        Type = "oneshot";
        LoadCredential = "token:${cfg.tokenFile}";
        DynamicUser = true;
        StateDirectory = "scherbelberg-gc";
        StateDirectoryMode = "0700";
        TimeoutStartSec = "30min";
        CapabilityBoundingSet = "";
        NoNewPrivileges = true;
        PrivateDevices = true;
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHome = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
          "AF_UNIX"
        ];
        RestrictNamespaces = true;
        UMask = "0077";
      };
    };
    systemd.timers.scherbelberg-gc = {
      description = "Looks for overdue Dask clusters";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnCalendar = cfg.startAt;
        Persistent = true;
        RandomizedDelaySec = "2min";
      };
    };
  };
}
