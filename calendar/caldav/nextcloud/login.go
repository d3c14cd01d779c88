package nextcloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/caldav"
)

// ErrExpired is returned by [Flow.Wait] when the user has not agreed in time.
var ErrExpired = errors.New("nextcloud: the login was not confirmed in time")

// Flow is a login under way. It is for one goroutine.
type Flow struct {
	// Page is the address that the user opens in a browser. It is on the typed origin.
	Page string

	c        *caldav.Client
	endpoint string // href
	token    string
	expires  time.Time
}

// Grant is what a login gives. Printing one shows no password.
type Grant struct {
	Server     string // the server's own address, on the typed origin
	Credential caldav.Credential
}

// Nextcloud forgets a flow after twenty minutes; the poll is what its own clients do.
const (
	lifetime     = 20 * time.Minute
	pollInterval = 2 * time.Second
	pollPause    = 30 * time.Second // after a 429 that says nothing
)

// Start begins a login at the server of c, whose own credential is not sent. The client's
// user agent becomes the name of the app password in the user's settings.
//
// Errors: caldav.ErrNotFound where there is no Nextcloud; a caldav.OriginError where the
// server's answer names another origin, usually because a proxy hides the real one from it
// (overwrite.cli.url, overwriteprotocol).
func Start(ctx context.Context, c *caldav.Client) (*Flow, error) {
	c = c.As(caldav.Credential{})
	resp, err := c.Do(ctx, caldav.Request{Method: http.MethodPost, Href: Root(c.Base()) + "/index.php/login/v2"})
	if err != nil {
		return nil, fmt.Errorf("start login: %w", err)
	}
	var answer struct {
		Poll struct {
			Token    string `json:"token"`
			Endpoint string `json:"endpoint"`
		} `json:"poll"`
		Login string `json:"login"`
	}
	if err := json.Unmarshal(resp.Body, &answer); err != nil || answer.Poll.Token == "" || answer.Login == "" || answer.Poll.Endpoint == "" {
		return nil, fmt.Errorf("start login: %w: not Nextcloud's answer", caldav.ErrMalformed)
	}
	f := &Flow{c: c, token: answer.Poll.Token, expires: time.Now().Add(lifetime)}
	if f.endpoint, err = c.Resolve("poll endpoint", answer.Poll.Endpoint); err != nil {
		return nil, fmt.Errorf("start login: %w", err)
	}
	page, err := c.Resolve("login page", answer.Login)
	if err != nil {
		return nil, fmt.Errorf("start login: %w", err)
	}
	f.Page = c.Origin() + page
	return f, nil
}

// Wait polls until the user has agreed, and returns the app password. The server gives it
// once: whoever calls Wait has to keep it.
//
// Errors: ErrExpired; those of ctx; what the server says that is not to be waited out.
func (f *Flow) Wait(ctx context.Context) (Grant, error) {
	for {
		grant, err := f.poll(ctx)
		if err == nil {
			return grant, nil
		}
		if ctx.Err() != nil { // whatever the poll that it cut off says
			return Grant{}, fmt.Errorf("wait for login: %w", context.Cause(ctx))
		}
		wait, again := retry(err)
		if !again {
			return Grant{}, fmt.Errorf("wait for login: %w", err)
		}
		if time.Until(f.expires) < wait {
			return Grant{}, ErrExpired
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return Grant{}, fmt.Errorf("wait for login: %w", context.Cause(ctx))
		}
	}
}

// retry says how long to wait after a failed poll. 404 means that the user has not agreed.
func retry(err error) (time.Duration, bool) {
	var status *caldav.StatusError
	var broken *caldav.TransportError
	switch {
	case errors.Is(err, caldav.ErrNotFound), errors.As(err, &broken):
		return pollInterval, true
	case errors.As(err, &status) && (status.Is(caldav.ErrRateLimited) || status.Is(caldav.ErrUnavailable)):
		return max(status.RetryAfter, pollPause), true
	}
	return 0, false
}

func (f *Flow) poll(ctx context.Context) (Grant, error) {
	resp, err := f.c.Do(ctx, caldav.Request{
		Method: http.MethodPost,
		Href:   f.endpoint,
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		Body:   []byte(url.Values{"token": {f.token}}.Encode()),
	})
	if err != nil {
		return Grant{}, err
	}
	var answer struct {
		Server      string `json:"server"`
		LoginName   string `json:"loginName"`
		AppPassword string `json:"appPassword"`
	}
	if err := json.Unmarshal(resp.Body, &answer); err != nil || answer.LoginName == "" || answer.AppPassword == "" {
		return Grant{}, fmt.Errorf("%w: not Nextcloud's answer", caldav.ErrMalformed)
	}
	path, err := f.c.Resolve("server", answer.Server)
	if err != nil {
		return Grant{}, err
	}
	return Grant{
		Server:     f.c.Origin() + strings.TrimRight(path, "/"),
		Credential: caldav.Credential{Username: answer.LoginName, Password: answer.AppPassword},
	}, nil
}
