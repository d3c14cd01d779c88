package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/perdure/perdure/calendar/worker"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
	"github.com/perdure/perdure/store/pebblestore"
	"github.com/perdure/perdure/wrangler"
)

// builtin is the configuration where there is no file: the seed's.
const builtin = `
[durable_objects]
bindings = [
  { name = "SESSIONS", class_name = "SessionStore" },
  { name = "CALENDARS", class_name = "CalendarCache" }
]

[[migrations]]
tag = "v1"
new_classes = ["SessionStore", "CalendarCache"]
`

// config is what serve needs to know, from all the places that say it.
type config struct {
	source       string // for people
	wrangler     *wrangler.Config
	warnings     []string
	bindings     map[string]string // name to class
	vars         map[string]string // of the files
	getenv       func(string) (string, bool)
	addr         string
	token        string
	allowedHosts []string
}

func (c *serveCmd) configure(env *environment) (*config, error) {
	cfg := &config{getenv: env.getenv}
	if err := cfg.read(c.Config, c.Env); err != nil {
		return nil, err
	}
	var err error
	if cfg.vars, err = cfg.wrangler.Variables("."); err != nil {
		return nil, err
	}
	cfg.warnings = cfg.wrangler.Warnings
	cfg.bindings = make(map[string]string)
	for _, b := range cfg.wrangler.Bindings {
		cfg.bindings[b.Name] = b.ClassName
	}
	cfg.bindings = worker.WithAliases(cfg.bindings)
	if err := worker.CheckVars(cfg.variable); err != nil {
		return nil, err
	}
	cfg.token = c.Token
	if cfg.token == "" {
		cfg.token = cfg.variable("PERDURE_TOKEN")
	}
	cfg.allowedHosts = strings.FieldsFunc(cfg.variable("PERDURE_ALLOWED_HOSTS"), func(r rune) bool { return r == ',' || r == ' ' })
	if cfg.addr, err = c.listenAddr(cfg.variable("PORT")); err != nil {
		return nil, err
	}
	if cfg.token == "" && !onLoopback(cfg.addr) {
		return nil, usageError(fmt.Sprintf("refusing to listen on %s without a token: whoever reaches it could read and change everything; "+
			"set PERDURE_TOKEN, or listen on 127.0.0.1", cfg.addr))
	}
	return cfg, nil
}

func (cfg *config) read(path, env string) (err error) {
	if path == "" {
		path, err = wrangler.Find(".")
		if errors.Is(err, fs.ErrNotExist) {
			if env != "" {
				return usageError(fmt.Sprintf("--env %s: there is no configuration file here that could have that environment", env))
			}
			cfg.source = "built in (no wrangler.toml, wrangler.json or wrangler.jsonc here)"
			cfg.wrangler, err = wrangler.Parse("built-in.toml", []byte(builtin), "")
			return err
		}
		if err != nil {
			return err
		}
	}
	cfg.source = path
	if env != "" {
		cfg.source += ", environment " + env
	}
	cfg.wrangler, err = wrangler.Load(path, env)
	return err
}

// variable looks a setting up: the process's environment wins over .dev.vars, that
// over .env, that over vars of the configuration file.
func (cfg *config) variable(name string) string {
	if v, ok := cfg.getenv(name); ok {
		return v
	}
	return cfg.vars[name]
}

// known are the variables that objects read.
var known = []string{"SESSION_TTL", "CACHE_TTL", "PREFERENCES_TTL"}

// objectVars are the variables that objects may see: those of the configuration,
// overridden by the environment. Those of ours that are secrets are not among them.
func (cfg *config) objectVars() map[string]string {
	vars := maps.Clone(cfg.vars)
	for _, name := range slices.Concat(known, slices.Collect(maps.Keys(vars))) {
		if v := cfg.variable(name); v != "" {
			vars[name] = v
		}
	}
	delete(vars, "PERDURE_TOKEN")
	return vars
}

func (cfg *config) bindingNames() []string { return slices.Sorted(maps.Keys(cfg.bindings)) }

func (cfg *config) serverVersion() string {
	if v := cfg.variable("SERVER_VERSION"); v != "" {
		return v
	}
	return version()
}

func (cfg *config) environmentName() string {
	if v := cfg.variable("ENVIRONMENT"); v != "" {
		return v
	}
	return cfg.variable("NODE_ENV")
}

// open migrates the store and starts a runtime on it.
func (cfg *config) open(st store.Store, yes bool, log *slog.Logger) (*durable.Runtime, error) {
	classes := worker.Classes()
	names := make([]string, len(classes))
	for i, c := range classes {
		names[i] = c.Name()
	}
	applied, exist, err := durable.AppliedMigrations(st)
	if err != nil {
		return nil, err
	}
	plan, err := cfg.wrangler.Plan(wrangler.State{Applied: applied, Classes: exist}, names)
	if err != nil {
		return nil, err
	}
	if len(plan.Deletes) > 0 && !yes {
		var lost []string
		for _, d := range plan.Deletes {
			lost = append(lost, fmt.Sprintf("%s (%s:%d)", d.Name, cfg.source, d.Line))
		}
		return nil, fmt.Errorf("migrations would delete all data of %s: give --yes to do so", strings.Join(lost, ", "))
	}
	if err := carryOut(st, plan, log); err != nil {
		return nil, err
	}
	var present []durable.Class
	for _, c := range classes {
		if slices.Contains(plan.Next.Classes, c.Name()) {
			present = append(present, c)
		}
	}
	return durable.Open(st, &durable.Options{
		Classes: present, Bindings: cfg.bindings, Vars: cfg.objectVars(), Logger: log,
		Limits: durable.Limits{NamespaceBytes: cfg.wrangler.Quota},
	})
}

func carryOut(st store.Store, plan *wrangler.Plan, log *slog.Logger) error {
	if len(plan.Pending) == 0 {
		return nil
	}
	m := durable.Migration{Rename: make(map[string]string), Applied: plan.Next.Applied}
	for _, d := range plan.Deletes {
		m.Delete = append(m.Delete, d.Name)
	}
	for _, r := range plan.Renames {
		m.Rename[r.From] = r.To
	}
	for _, c := range plan.Creates {
		m.Create = append(m.Create, durable.ClassKey{Name: c.Name, UniqueKey: c.First})
	}
	if err := durable.Migrate(st, m); err != nil {
		return err
	}
	log.Info("migrations applied", "tags", len(plan.Pending), "created", len(m.Create), "renamed", len(m.Rename), "deleted", len(m.Delete))
	return nil
}

// openStore opens the engine that --store names, and says where it is.
func openStore(url, data string, log *slog.Logger) (store.Store, string, error) {
	kind, rest, found := strings.Cut(url, ":")
	switch {
	case url == "":
		if err := os.MkdirAll(data, 0o700); err != nil {
			return nil, "", fmt.Errorf("data folder: %w", err)
		}
		kind, rest = "pebble", filepath.Join(data, "store")
	case !found:
		return nil, "", usageError(fmt.Sprintf("--store %q: must be memory: or pebble:DIR", url))
	}
	switch {
	case kind == "memory" && rest == "":
		return memstore.New(nil), "in memory: gone when this process ends", nil
	case kind == "pebble" && rest != "":
		st, err := pebblestore.Open(rest, &pebblestore.Options{Logger: log})
		return st, rest, err
	}
	return nil, "", usageError(fmt.Sprintf("--store %q: must be memory: or pebble:DIR", kind+":"))
}

func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}
