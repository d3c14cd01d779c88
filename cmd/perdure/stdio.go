package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/calendar/worker"
)

type stdioCmd struct {
	dataFlags
	User         string        `help:"The user whose calendars these are, by name or id. Default: me, the single user." placeholder:"NAME"`
	InsecureHTTP bool          `name:"insecure-http" help:"Allow a Nextcloud on plain http elsewhere than on this machine."`
	LogFormat    string        `help:"Form of the log on standard error: ${enum}." enum:"text,json" default:"text"`
	Grace        time.Duration `help:"How long to wait for running calls at the end." default:"10s"`
}

// Run serves one MCP client on standard input and output until its input ends. Beside
// protocol nothing is written there.
func (c *stdioCmd) Run(env *environment) error {
	if err := c.clientFolder(env); err != nil {
		return err
	}
	at, err := c.place()
	if err != nil {
		return err
	}
	cfg, err := c.configureAt(env, at)
	if err != nil {
		return err
	}
	if err := cfg.readNextcloud(c.InsecureHTTP); err != nil {
		return err
	}
	cfg.dav = cfg.nextcloud == (accounts.Credential{})
	log := newLogger(c.LogFormat, cfg.logLevel, env.stderr)
	for _, w := range cfg.warnings {
		log.Warn(w)
	}
	log.Info("calendars over standard input and output", "data", at.where())
	ctx, fail := context.WithCancelCause(env.ctx)
	defer fail(nil)
	s := &seat{cfg: cfg, at: at, log: log, broken: fail}
	err = c.serve(ctx, env, s)
	if cause := context.Cause(ctx); env.ctx.Err() != nil && errors.Is(err, env.ctx.Err()) {
		err = nil // a signal is an end in good order
	} else if cause != nil && errors.Is(err, ctx.Err()) {
		err = cause
	}
	end, cancel := context.WithTimeout(context.Background(), c.Grace)
	defer cancel()
	return errors.Join(err, s.close(end))
}

func (c *stdioCmd) serve(ctx context.Context, env *environment, s *seat) error {
	client := s.client()
	control := &controlClient{client}
	user := cmp.Or(c.User, accounts.Me)
	path := "/users/" + url.PathEscape(user)
	// Better to hear now than at the first call that there is no such user.
	var u worker.ControlUser
	if err := control.call(ctx, http.MethodGet, path, nil, &u); err != nil {
		return fmt.Errorf("user %q: %w", user, err)
	}
	if c.User == "" { // else it was chosen
		var others []worker.ControlUser
		if err := control.call(ctx, http.MethodGet, "/users", nil, &others); err == nil && len(others) > 0 {
			s.log.Warn("there are users, and this serves the calendars of none of them: choose one with --user NAME")
		}
	}
	// From here on by id: a name may be given to somebody else.
	return calmcp.ServeStdio(ctx, env.stdin, env.stdout, &calmcp.StdioOptions{
		Client: client, URL: "http://perdure/users/" + url.PathEscape(u.ID) + "/mcp",
	})
}
