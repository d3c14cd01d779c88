package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/caldav/nextcloud"
	"github.com/perdure/perdure/calendar/worker"
)

type loginCmd struct {
	dataFlags
	URL          string `arg:"" name:"url" help:"Address of the Nextcloud, such as https://cloud.example.org."`
	User         string `help:"The user whose calendars these are, by name or id. Default: me, the single user." default:"me" placeholder:"NAME"`
	InsecureHTTP bool   `name:"insecure-http" help:"Allow plain http elsewhere than on this machine."`
}

// Run asks Nextcloud for a password of our own (Login Flow v2) and keeps it sealed. The
// data is not held while the user thinks: a server may start and end meanwhile.
func (c *loginCmd) Run(env *environment) error {
	cfg, err := c.configure(env)
	if err != nil {
		return err
	}
	opts := cfg.caldavOptions(c.InsecureHTTP)
	opts.UserAgent = "Perdure"
	if host, err := os.Hostname(); err == nil {
		opts.UserAgent += " on " + host
	}
	client, err := caldav.New(c.URL, &opts)
	if err != nil {
		return usageError("login: " + c.addressProblem(err, &opts))
	}
	if err := c.prepare(env, cfg); err != nil {
		return err
	}
	flow, err := nextcloud.Start(env.ctx, client)
	if err != nil {
		return fmt.Errorf("login to %s: %w", client.Origin(), noNextcloud(err))
	}
	fmt.Fprintf(env.stdout, "Open this page in a browser, log in, and grant access:\n\n  %s\n\nWaiting for it, 20 minutes at most; Ctrl-C stops.\n", flow.Page)
	grant, err := flow.Wait(env.ctx)
	if env.ctx.Err() != nil && err != nil {
		return errors.New("login: stopped, nothing was changed")
	}
	if err != nil {
		return fmt.Errorf("login to %s: %w", client.Origin(), err)
	}
	if err := c.keep(env, grant); err != nil {
		return errors.Join(err, giveBack(client, grant))
	}
	fmt.Fprintf(env.stdout, "Logged in as %s. The calendars of user %s are now those of %s.\n", grant.Credential, c.User, grant.Server)
	return nil
}

// addressProblem says what is wrong with the address, and what may have been meant.
func (c *loginCmd) addressProblem(err error, opts *caldav.Options) string {
	given := strings.TrimSpace(c.URL)
	u, perr := url.Parse(given)
	isURL := perr == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
	if isURL || strings.ContainsAny(given, "@?#") { // it may hold a password
		return addressProblem(err)
	}
	text := fmt.Sprintf("%.200q is not an http or https URL", given)
	if strings.Contains(given, "//") || strings.HasPrefix(given, "/") || strings.HasPrefix(given, "http") && strings.Contains(given, ":/") {
		return text
	}
	if _, err := caldav.New("https://"+given, opts); err == nil {
		text += ": did you mean https://" + given + "?"
	}
	return text
}

// noNextcloud says what the answer of a server means that knows nothing of logging in.
func noNextcloud(err error) error {
	var status *caldav.StatusError
	refused := errors.As(err, &status) && status.Status == http.StatusMethodNotAllowed
	if refused || errors.Is(err, caldav.ErrNotFound) || errors.Is(err, caldav.ErrMalformed) {
		return fmt.Errorf("this is no Nextcloud (or an old one): %w", err)
	}
	return err
}

// prepare says where the login will be kept. It is better to hear now than after logging in
// that it can't be, or that there is no such user. Data that is not there yet is not made:
// nothing may come of the login.
func (c *loginCmd) prepare(env *environment, cfg *config) error {
	c.commandFolder(env)
	at, err := c.place()
	if err != nil {
		return err
	}
	found, err := at.exists()
	if err != nil {
		return err
	}
	if found || at.dir == "" { // in memory: see withControl
		if err := c.announce(env); err != nil {
			return err
		}
		return c.withControl(env, c.findUser)
	}
	if c.User != accounts.Me {
		return fmt.Errorf("login: user %q: there is no such user: there is no data in %s", c.User, at.where())
	}
	if _, err := cfg.key(at); err != nil {
		return err
	}
	if err := at.canBeMade(); err != nil {
		return err
	}
	return c.announceNew(env, "once you have logged in")
}

func (c *loginCmd) path() string { return "/users/" + url.PathEscape(c.User) }

func (c *loginCmd) findUser(ctx context.Context, control *controlClient) error {
	if err := control.call(ctx, http.MethodGet, c.path(), nil, new(worker.ControlUser)); err != nil {
		return fmt.Errorf("login: user %q: %w", c.User, err)
	}
	return nil
}

// keep stores the password, of which there is no second one, even if a signal arrives now.
func (c *loginCmd) keep(env *environment, grant nextcloud.Grant) error {
	uninterrupted := *env
	uninterrupted.ctx = context.WithoutCancel(env.ctx)
	return c.withControl(&uninterrupted, func(ctx context.Context, control *controlClient) error {
		var u worker.ControlUser
		in := worker.ControlCredential{
			Server: grant.Server, Username: grant.Credential.Username, Password: grant.Credential.Password, InsecureHTTP: c.InsecureHTTP,
		}
		if err := control.call(ctx, http.MethodPut, credentialPath(c.User), in, &u); err != nil {
			return fmt.Errorf("login: keep the password of user %q: %w", c.User, err)
		}
		tellLeft(env, "app password of the login before", u.Left)
		return nil
	})
}

// giveBack makes a password void that could not be kept.
func giveBack(client *caldav.Client, grant nextcloud.Grant) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := nextcloud.New(client.As(grant.Credential), nextcloud.Root(client.Base())).RevokeAppPassword(ctx)
	if err != nil {
		return fmt.Errorf("the password that Nextcloud gave is left over, remove it in its security settings: %w", err)
	}
	return nil
}
