package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/calendar/worker"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store"
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

// dataFlags say which data a command works on.
type dataFlags struct {
	Data   string `help:"Folder of the data. Default: ${folder}." placeholder:"DIR"`
	Config string `help:"Configuration. Default: wrangler.json, wrangler.jsonc or wrangler.toml of this folder, else a built-in one." placeholder:"FILE"`
	Env    string `help:"Environment of the configuration." placeholder:"NAME"`
	Store  string `help:"Storage engine: memory:, pebble:DIR, or postgres://… (several, separated by commas, share the data). Default: pebble in the data folder." placeholder:"URL"`

	byDefault bool // nobody said which: see commandFolder
}

// config is what a command needs to know, from all the places that say it.
type config struct {
	source         string // for people
	wrangler       *wrangler.Config
	warnings       []string
	bindings       map[string]string // name to class
	vars           map[string]string // of the files
	getenv         func(string) (string, bool)
	addr           string
	token          string
	allowedHosts   []string
	allowedOrigins []string
	rate           float64
	keepAlive      time.Duration
	logLevel       slog.Level
	ttl            time.Duration       // of copies of calendars elsewhere
	nextcloud      accounts.Credential // the single user's; zero if his calendars are here
	caldav         caldav.Options      // of clients for servers elsewhere
	dav            bool
	link           calmcp.Link // joins the classes with the worker
	secret         string      // of the cluster
	placement      durable.Placement
	elsewhere      func(ctx context.Context, user string) error
}

// configure reads what every command that opens the data needs.
func (f *dataFlags) configure(env *environment) (*config, error) { return f.configureFrom(env, true) }

// configureAt is configure for a command that may be started anywhere: files of a folder
// in which the data is not are not read, but for a configuration that is named.
func (f *dataFlags) configureAt(env *environment, at place) (*config, error) {
	return f.configureFrom(env, f.Config != "" || at.isHere())
}

func (f *dataFlags) configureFrom(env *environment, files bool) (*config, error) {
	cfg := &config{getenv: env.getenv}
	var err error
	if files {
		if err = cfg.read(f.Config, f.Env); err == nil {
			cfg.vars, err = cfg.wrangler.Variables(".")
		}
	} else {
		if f.Env != "" {
			return nil, usageError(fmt.Sprintf("--env %s: needs --config, since the data is not in this folder", f.Env))
		}
		err = cfg.readBuiltin()
	}
	if err != nil {
		return nil, err
	}
	cfg.warnings = append(cfg.wrangler.Warnings, cfg.misspelled(env.environ())...)
	cfg.bindings = make(map[string]string)
	for _, b := range cfg.wrangler.Bindings {
		cfg.bindings[b.Name] = b.ClassName
	}
	cfg.bindings = worker.WithAliases(cfg.bindings)
	if err := cfg.readSettings(); err != nil {
		return nil, err
	}
	return cfg, worker.CheckVars(cfg.variable)
}

func (c *serveCmd) configure(env *environment) (*config, error) {
	cfg, err := c.dataFlags.configure(env)
	if err != nil {
		return nil, err
	}
	if err := cfg.readNextcloud(c.InsecureHTTP); err != nil {
		return nil, err
	}
	cfg.dav = c.Dav || cfg.nextcloud == (accounts.Credential{})
	cfg.token = c.Token
	if cfg.token == "" {
		cfg.token = cfg.variable("PERDURE_TOKEN")
	}
	if strings.ContainsFunc(cfg.token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, usageError("the token has spaces or other characters that an Authorization header can't carry")
	}
	if c.Grace < 0 {
		return nil, usageError(fmt.Sprintf("--grace %v: must not be negative", c.Grace))
	}
	if cfg.addr, err = c.listenAddr(cfg.variable("PORT")); err != nil {
		return nil, err
	}
	if host, _, _ := net.SplitHostPort(cfg.addr); host != "" { // who listens by a name answers to it
		cfg.allowedHosts = append(cfg.allowedHosts, host)
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
			return cfg.readBuiltin()
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

func (cfg *config) readBuiltin() (err error) {
	cfg.source = "built in (no wrangler.toml, wrangler.json or wrangler.jsonc here)"
	cfg.wrangler, err = wrangler.Parse("built-in.toml", []byte(builtin), "")
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

// settings are the variables that we read ourselves.
var settings = []string{
	"PORT", "SERVER_NAME", "SERVER_VERSION", "ENVIRONMENT", "NODE_ENV", "DEBUG_MODE", "LOG_LEVEL", "KEEP_ALIVE_INTERVAL",
	"PERDURE_TOKEN", "PERDURE_ALLOWED_HOSTS", "PERDURE_ALLOWED_ORIGINS", "PERDURE_RATE_LIMIT", "PERDURE_CLUSTER_SECRET", "PERDURE_KEY",
	"NEXTCLOUD_BASE_URL", "NEXTCLOUD_USERNAME", "NEXTCLOUD_APP_TOKEN", "NEXTCLOUD_CA_FILE",
}

// misspelled returns a warning for each variable that is nearly one of ours: those
// of the files, and those of the environment that can mean nobody else.
func (cfg *config) misspelled(environ []string) []string {
	ours := slices.Concat(known, settings)
	names := slices.Collect(maps.Keys(cfg.vars))
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "PERDURE_") || strings.HasPrefix(name, "NEXTCLOUD_") || strings.HasSuffix(name, "_TTL") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var warnings []string
	for _, name := range slices.Compact(names) {
		if near := wrangler.Nearest(name, ours); near != "" && !slices.Contains(ours, name) {
			warnings = append(warnings, fmt.Sprintf("variable %s is not read: did you mean %s?", name, near))
		}
	}
	return warnings
}

// objectVars are the variables that objects may see: those of the configuration,
// overridden by the environment. Those of ours that are secrets are not among them.
func (cfg *config) objectVars() map[string]string {
	vars := maps.Clone(cfg.vars)
	for _, name := range slices.Concat(known, slices.Collect(maps.Keys(vars))) {
		if v := cfg.variable(name); v != "" {
			vars[name] = v
		}
	}
	for _, secret := range []string{"PERDURE_TOKEN", "PERDURE_CLUSTER_SECRET", "PERDURE_KEY", "NEXTCLOUD_APP_TOKEN"} {
		delete(vars, secret)
	}
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
	applied, exist, err := durable.AppliedMigrations(st)
	if err != nil {
		return nil, err
	}
	plan, err := cfg.wrangler.Plan(wrangler.State{Applied: applied, Classes: without(exist, worker.BuiltIn(&cfg.link))}, names(classes))
	if err != nil {
		return nil, err
	}
	if cfg.placement != nil && len(plan.Deletes)+len(plan.Renames) > 0 {
		return nil, errors.New("migrations that delete or rename classes need the data for themselves: " +
			"stop all nodes, and start one without --peer-addr until it serves")
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
	return cfg.start(st, plan.Next.Classes, cfg.bindings, log)
}

// openTogether is open where other nodes may be doing the same: one of them makes the
// classes, and the others find them made.
func (cfg *config) openTogether(st store.Store, log *slog.Logger) (rt *durable.Runtime, err error) {
	for range 3 {
		if rt, err = cfg.open(st, false, log); err == nil {
			return rt, nil
		}
	}
	return nil, err
}

// key returns the key that credentials are sealed under: in a cluster one that all nodes can derive.
func (cfg *config) key(at place) (*accounts.Key, error) {
	secrets := cfg.variable("PERDURE_KEY")
	if secrets == "" {
		if cfg.placement == nil {
			return at.key(), nil
		}
		secrets = cfg.secret
	}
	all := strings.Split(secrets, ",")
	for i, s := range all {
		if all[i] = strings.TrimSpace(s); len(all[i]) < minKey {
			return nil, fmt.Errorf("PERDURE_KEY: %d bytes, at least %d are needed", len(all[i]), minKey)
		}
	}
	return accounts.SecretKey(all[0], all[1:]...), nil
}

// minKey is the length of the shortest secret that credentials are sealed under.
const minKey = 16

// openAsIs starts a runtime on a store without migrating it: a command that is about
// something else should not.
func (cfg *config) openAsIs(st store.Store, log *slog.Logger) (*durable.Runtime, error) {
	_, exist, err := durable.AppliedMigrations(st)
	if err != nil {
		return nil, err
	}
	return cfg.start(st, exist, nil, log)
}

// openOrMake is openAsIs, but for a store that nobody has migrated yet.
func (cfg *config) openOrMake(st store.Store, log *slog.Logger) (*durable.Runtime, error) {
	applied, _, err := durable.AppliedMigrations(st)
	if err != nil {
		return nil, err
	}
	if len(applied) == 0 {
		return cfg.open(st, false, log)
	}
	return cfg.openAsIs(st, log)
}

// start starts a runtime with the built-in classes and those that exist of the others.
func (cfg *config) start(st store.Store, exist []string, bindings map[string]string, log *slog.Logger) (*durable.Runtime, error) {
	present := worker.BuiltIn(&cfg.link)
	for _, c := range worker.Classes() {
		if slices.Contains(exist, c.Name()) {
			present = append(present, c)
		}
	}
	placement := cfg.placement
	if alone, ok := st.(aloneStore); ok {
		placement = alone.placement
	}
	return durable.Open(st, &durable.Options{
		Classes: present, Bindings: bindings, Vars: cfg.objectVars(), Logger: log,
		Limits: durable.Limits{NamespaceBytes: cfg.wrangler.Quota}, Placement: placement,
	})
}

func names(classes []durable.Class) []string {
	out := make([]string, len(classes))
	for i, c := range classes {
		out[i] = c.Name()
	}
	return out
}

// without returns the names that are none of classes'.
func without(all []string, classes []durable.Class) []string {
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return slices.Contains(names(classes), name) })
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

func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}
