using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "objects", worker = .objects),
    (name = "data", disk = (writable = true)),
  ],
  sockets = [(name = "http", http = (), service = "objects")],
);

const objects :Workerd.Worker = (
  modules = [(name = "objects.js", esModule = embed "objects.js")],
  compatibilityDate = "2026-11-17",
  durableObjectNamespaces = [
    (className = "Counter", uniqueKey = "counters", enableSql = true),
    (className = "LegacyCounter", uniqueKey = "legacy-counters"),
    (className = "SessionStore", uniqueKey = "sessions", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "data"),
  bindings = [
    (name = "sql", durableObjectNamespace = "Counter"),
    (name = "legacy", durableObjectNamespace = "LegacyCounter"),
    (name = "sessions", durableObjectNamespace = "SessionStore"),
  ],
);
