package caldav

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Home is where a user's calendars are. All of it comes from the server: an address made
// from the login name is wrong for users who log in with their e-mail address.
type Home struct {
	Principal string   // href of the user
	Sets      []string // hrefs of the collections that hold calendars, usually one

	DisplayName string
	Addresses   []string // calendar user addresses, as mailto: and other URIs

	// Features are the tokens of the first set's DAV header, such as "calendar-access",
	// "calendar-auto-schedule", "nc-calendar-trashbin".
	Features []string

	// Server is what the server calls itself, such as "Cyrus-HTTP/3.6.1" or "sabre/dav 4.6.0";
	// "" if it doesn't.
	Server string
}

// KeepsQuiet says whether the server is known to send no scheduling messages about what is
// written with a client that is [Client.Quiet]: Nextcloud, others made with sabre, Cyrus.
func (h *Home) KeepsQuiet() bool {
	return strings.HasPrefix(h.Server, "Cyrus-HTTP/") || h.sabre()
}

// StoresAsSent says whether the server is known to give an entity tag for what was written
// only where it stored the very bytes: Nextcloud and others made with sabre.
func (h *Home) StoresAsSent() bool { return h.sabre() }

func (h *Home) sabre() bool {
	return strings.HasPrefix(h.Server, "sabre/dav ") ||
		slices.ContainsFunc(h.Features, func(f string) bool { return strings.HasPrefix(f, "nc-") })
}

// Discover finds the user's calendars (RFC 6764, RFC 5397, RFC 4791 section 6.2.1). It
// tries the address as typed, its /.well-known/caldav, its /remote.php/dav/ (Nextcloud
// under a path), and the server's /.well-known/caldav and root, and takes the first that
// names a principal with a calendar home.
//
// Errors: ErrUnauthorized at the first 401, without further tries; ErrNotCalDAV, joined
// with what the first candidates answered.
func (c *Client) Discover(ctx context.Context) (Home, error) {
	var causes []error
	for _, href := range c.candidates() {
		home, err := c.home(ctx, href)
		if err == nil {
			return home, nil
		}
		if !c.mayLookElsewhere(err) {
			return Home{}, fmt.Errorf("discover calendars: %w", err)
		}
		causes = append(causes, err)
	}
	return Home{}, fmt.Errorf("discover calendars: %w", errors.Join(append([]error{ErrNotCalDAV}, causes...)...))
}

func (c *Client) candidates() []string {
	base := c.server.base
	if base == "" {
		return []string{"/.well-known/caldav", "/remote.php/dav/", "/"}
	}
	return []string{base + "/", base + "/.well-known/caldav", base + "/remote.php/dav/", "/.well-known/caldav", "/"}
}

// mayLookElsewhere says whether an error speaks about one address only. A server that
// refuses the credential, limits us or is down is not asked again.
func (c *Client) mayLookElsewhere(err error) bool {
	var status *StatusError
	if errors.As(err, &status) {
		return !status.Is(ErrUnauthorized) && !status.Is(ErrRateLimited) && !status.Is(ErrUnavailable)
	}
	var away *OriginError
	return errors.As(err, &away) || errors.Is(err, ErrMalformed) || errors.Is(err, ErrNotCalDAV)
}

func (c *Client) home(ctx context.Context, href string) (Home, error) {
	var home Home
	err := c.propfind(ctx, href, "0", []xml.Name{propPrincipal}, func(at string, resp *response) error {
		return c.one(&home.Principal, at, resp.prop(propPrincipal))
	})
	if err != nil {
		return home, err
	}
	if home.Principal == "" {
		return home, fmt.Errorf("%w: %s names no principal", ErrNotCalDAV, href)
	}
	names := []xml.Name{propHomeSet, propDisplayName, propAddresses}
	err = c.propfind(ctx, home.Principal, "0", names, func(at string, resp *response) error {
		home.DisplayName = resp.text(propDisplayName)
		home.Addresses = resp.prop(propAddresses).hrefs()
		for _, ref := range resp.prop(propHomeSet).hrefs() {
			set, err := c.server.origin.resolve("calendar-home-set", at, ref)
			if err != nil {
				return err
			}
			home.Sets = append(home.Sets, collection(set))
		}
		return nil
	})
	if err != nil {
		return home, err
	}
	if len(home.Sets) == 0 {
		return home, fmt.Errorf("%w: %s has no calendar home", ErrNotCalDAV, home.Principal)
	}
	home.Features, home.Server, err = c.features(ctx, home.Sets[0])
	return home, err
}

// one sets *to to the single href in a property.
func (c *Client) one(to *string, at string, prop *node) error {
	refs := prop.hrefs()
	if len(refs) == 0 {
		return nil
	}
	href, err := c.server.origin.resolve(prop.name.Local, at, refs[0])
	*to = href
	return err
}

// features reads the DAV header and what the server calls itself. A server that does not
// allow OPTIONS has none.
func (c *Client) features(ctx context.Context, href string) (out []string, server string, err error) {
	err = c.exchange(ctx, &request{method: http.MethodOptions, href: href}, func(a *answer) error {
		for _, line := range a.Header.Values("DAV") {
			for f := range strings.SplitSeq(line, ",") {
				if f = strings.TrimSpace(f); f != "" {
					out = append(out, clip(f, 100))
				}
			}
		}
		server, _, _ = strings.Cut(a.Header.Get("Server"), " ") // what follows is what it is made of
		if v := a.Header.Get("X-Sabre-Version"); v != "" {
			server = "sabre/dav " + v
		}
		server = clip(server, 100)
		return nil
	})
	if err != nil && c.mayLookElsewhere(err) {
		err = nil
	}
	return out, server, err
}
