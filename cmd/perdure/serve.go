package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/worker"
	"github.com/perdure/perdure/durable"
)

type serveCmd struct {
	Addr string `help:"Address to listen on. Default: 127.0.0.1:8787." placeholder:"HOST:PORT"`
	Port *int   `help:"Port to listen on, 0 for any free one, in place of that of --addr; also PORT in the environment." placeholder:"N"`
	dataFlags
	clusterFlags
	Token        string        `help:"Token that requests must bring; also PERDURE_TOKEN in the environment, where other users of the machine can't see it." placeholder:"SECRET"`
	Dav          bool          `help:"Serve calendars at /dav/ although they are on a Nextcloud."`
	InsecureHTTP bool          `name:"insecure-http" help:"Allow a Nextcloud on plain http elsewhere than on this machine."`
	LogFormat    string        `help:"Form of the log on standard error: ${enum}." enum:"text,json" default:"text"`
	Grace        time.Duration `help:"How long to wait for running requests at the end." default:"20s"`
	Yes          bool          `help:"Carry out migrations that delete data."`
}

// Run serves until the environment's context ends, then drains.
func (c *serveCmd) Run(env *environment) error {
	c.serverFolder()
	cfg, err := c.configure(env)
	if err != nil {
		return err
	}
	log := newLogger(c.LogFormat, cfg.logLevel, env.stderr)
	for _, w := range cfg.warnings {
		log.Warn(w)
	}
	at, err := c.place()
	if err != nil {
		return err
	}
	// Before the data is opened, and migrated: a server that can't listen changes nothing.
	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	together, err := c.clusterFlags.configure(cfg, at)
	if err != nil {
		return err
	}
	var m *member
	var rt *durable.Runtime
	if together {
		at.dir = "" // other nodes may have the same folder
		m, rt, err = c.openTogether(env.ctx, cfg, at, log)
	} else {
		rt, err = c.openAlone(env.ctx, cfg, at, log)
	}
	if err != nil {
		return err
	}
	h, err := cfg.host(env.ctx, rt, at, log, nil)
	if err != nil {
		return errors.Join(err, m.close(env.ctx))
	}
	m.serves(h)
	srv := &http.Server{
		Handler:           boundLeftovers(h.worker),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		// OPTIONS * is checked as everything is.
		DisableGeneralOptionsHandler: true,

		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	c.greet(env.stdout, listener.Addr(), cfg, at, h.worker.MissingClass() == "")

	select {
	case err = <-served:
		err = fmt.Errorf("serve: %w", err)
	case <-env.ctx.Done():
		log.Info("draining", "grace", c.Grace)
	case <-rt.Draining(): // nobody but a broken store ends it
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Grace)
	defer cancel()
	if m != nil {
		h.worker.Announce()
		m.leave(ctx) // and serve on: what comes is passed on to the new owners
	}
	err = errors.Join(err, h.close(ctx, log, func(ctx context.Context) {
		if srv.Shutdown(ctx) != nil {
			srv.Close()
		}
	}))
	err = errors.Join(err, m.close(ctx))
	if h.cutOff != "" {
		log = log.With("cutOff", h.cutOff)
	}
	log.Info("ended")
	return err
}

func (c *serveCmd) openAlone(ctx context.Context, cfg *config, at place, log *slog.Logger) (*durable.Runtime, error) {
	st, err := at.openPatiently(ctx, log)
	if err != nil {
		return nil, err
	}
	rt, err := cfg.open(st, c.Yes, log)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return rt, nil
}

func (c *serveCmd) openTogether(ctx context.Context, cfg *config, at place, log *slog.Logger) (*member, *durable.Runtime, error) {
	m, err := c.join(ctx, cfg, at, c.Grace/2, log)
	if err != nil {
		return nil, nil, err
	}
	cfg.placement, cfg.elsewhere = m.node.Load(), m.elsewhere
	rt, err := cfg.openTogether(m.store, log)
	if err != nil {
		m.listener.Close()
		return nil, nil, errors.Join(err, m.store.Close())
	}
	m.start(rt)
	return m, rt, nil
}

// worker returns the application's front on rt, as the configuration wants it.
func (cfg *config) worker(rt *durable.Runtime, key *accounts.Key, log *slog.Logger) *worker.Worker {
	return worker.New(rt, &worker.Options{
		Link: &cfg.link, Bindings: cfg.bindingNames(), Token: cfg.token, Rate: cfg.rate,
		AllowedHosts: cfg.allowedHosts, AllowedOrigins: cfg.allowedOrigins, KeepAlive: cfg.keepAlive, TTL: cfg.ttl, TimeZone: cfg.localZone(),
		Key: key, Elsewhere: cfg.elsewhere, DAV: cfg.dav, Nextcloud: cfg.nextcloud, CalDAV: cfg.caldav, Logger: log,
		Name: cfg.variable("SERVER_NAME"), Version: cfg.serverVersion(), Environment: cfg.environmentName(),
	})
}

// leftoverTime is how long the rest of a body may take that no handler has read.
const leftoverTime = 2 * time.Second

// boundLeftovers bounds what the server does after h: it reads what h has left of the
// request's body, for instance of one that h refused, and would wait for it for ever.
func boundLeftovers(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		if r.ContentLength != 0 { // the server sets its own deadline before the next request
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(leftoverTime))
		}
	})
}

// greet says what is served where, with a request to try. mcp is among it if it can be.
func (c *serveCmd) greet(w io.Writer, addr net.Addr, cfg *config, at place, mcp bool) {
	base := "http://" + addr.String()
	auth := ""
	if cfg.token != "" {
		auth = ` -H "Authorization: Bearer $PERDURE_TOKEN"`
	}
	fmt.Fprintf(w, "perdure %s\n", version())
	fmt.Fprintf(w, "  configuration  %s\n", cfg.source)
	fmt.Fprintf(w, "  data           %s\n", at.where())
	fmt.Fprintf(w, "  health         %s/health\n", base)
	if mcp {
		fmt.Fprintf(w, "  mcp            %s/mcp   (Streamable HTTP; for older clients %s/sse)\n", base, base)
	}
	if cfg.dav {
		others := "" // in memory no other command can add any
		if c.Store != memoryStore {
			others = " until there are others: " + c.command("users add NAME")
		}
		fmt.Fprintf(w, "  calendars      %s/dav/   (CalDAV; user %s%s)\n", base, accounts.Me, others)
	}
	if cfg.nextcloud != (accounts.Credential{}) {
		fmt.Fprintf(w, "  nextcloud      %s\n", cfg.nextcloud)
	}
	example := ""
	for _, name := range cfg.bindingNames() {
		fmt.Fprintf(w, "  %-14s %s/objects/%s/{name}/…   (class %s)\n", "objects", base, name, cfg.bindings[name])
		if cfg.bindings[name] == "SessionStore" {
			example = name
		}
	}
	if example == "" {
		fmt.Fprintf(w, "Try: curl %s/health\n", base)
		return
	}
	fmt.Fprintf(w, "Try: curl -X POST%s -d '{\"data\":{\"hello\":\"world\"}}' %s/objects/%s/demo/create\n", auth, base, example)
}

func newLogger(format string, level slog.Level, w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// listenAddr puts together what flags and variables say.
func (c *serveCmd) listenAddr(variable string) (string, error) {
	addr := c.Addr
	if addr == "" {
		addr = net.JoinHostPort("127.0.0.1", cmp.Or(variable, "8787"))
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", usageError(fmt.Sprintf("address %q: must be HOST:PORT", addr))
	}
	if c.Port != nil {
		port = strconv.Itoa(*c.Port)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", usageError(fmt.Sprintf("port %q: must be a number from 0 to 65535", port))
	}
	return net.JoinHostPort(host, port), nil
}
