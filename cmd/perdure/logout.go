package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/perdure/perdure/calendar/worker"
)

type logoutCmd struct {
	dataFlags
	User         string `help:"The user whose calendars are to be those kept here, by name or id. Default: me, the single user." default:"me" placeholder:"NAME"`
	InsecureHTTP bool   `name:"insecure-http" help:"Allow plain http elsewhere than on this machine, to tell the Nextcloud."`
}

// Run undoes a login: whoever holds the data deletes the password, and tells the Nextcloud
// that it is void.
func (c *logoutCmd) Run(env *environment) error {
	if err := c.mustExist(env); err != nil {
		return err
	}
	if err := c.announce(env); err != nil {
		return err
	}
	return c.withControl(env, func(ctx context.Context, control *controlClient) error {
		path := credentialPath(c.User)
		if c.InsecureHTTP {
			path += "?insecureHTTP=true"
		}
		var was worker.ControlLogout
		if err := control.call(ctx, http.MethodDelete, path, nil, &was); err != nil {
			return fmt.Errorf("logout: user %q: %w", c.User, err)
		}
		if was.Server == "" { // sealed under another key
			fmt.Fprintf(env.stdout, "User %s is logged out.\n", c.User)
		} else {
			fmt.Fprintf(env.stdout, "User %s is logged out of %s, as %s.\n", c.User, was.Server, was.Username)
		}
		tellLeft(env, "app password", was.Left)
		return nil
	})
}

// tellLeft says why a password that is kept no longer may still be valid, if it may.
func tellLeft(env *environment, what, why string) {
	if why != "" {
		fmt.Fprintf(env.stderr, "The Nextcloud was not told that the %s is void: remove it in its security settings. The reason: %s\n", what, why)
	}
}

func credentialPath(user string) string { return "/users/" + url.PathEscape(user) + "/credential" }

// describe says for people where a user's calendars are elsewhere.
func describe(l worker.ControlLogin) string {
	switch {
	case l.Server == "":
		return ""
	case l.Given:
		return fmt.Sprintf("%s at %s, by the variables of the process that serves", l.Username, l.Server)
	}
	return l.Username + " at " + l.Server
}
