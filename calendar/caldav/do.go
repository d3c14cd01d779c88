package caldav

import (
	"context"
	"net/http"
)

// Request is one for which there is no method here: a server's own interface beside CalDAV.
type Request struct {
	Method string
	Href   string // canonical, on the configured origin
	Query  string // without "?"
	Header http.Header
	Body   []byte
}

// Response is a whole answer with a 2xx status.
type Response struct {
	Status int
	Header http.Header
	Body   []byte // at most MaxObject
}

// Do sends a request under all the rules of this package: one origin, the credential with
// its bans, bounds, limits and errors. An answer that is no success is an error.
func (c *Client) Do(ctx context.Context, req Request) (Response, error) {
	href, err := Canonical(req.Href)
	if err != nil {
		return Response{}, err
	}
	r := &request{method: req.Method, href: href, query: req.Query, header: http.Header{}, body: req.Body}
	for key, values := range req.Header {
		for _, v := range values {
			r.header.Add(key, v) // in net/http's spelling, whatever the caller's
		}
	}
	if !r.reads() {
		c.forgetPrivileges(collection(href))
	}
	var out Response
	err = c.exchange(ctx, r, func(a *answer) (err error) {
		out = Response{Status: a.StatusCode, Header: a.Header}
		out.Body, err = c.read(r, a, c.server.object)
		return err
	})
	return out, err
}

// Resolve returns the href of an address that a server named, as in JSON of its own. An
// address on another origin is an [OriginError] that calls it kind.
func (c *Client) Resolve(kind, address string) (string, error) {
	return c.server.origin.resolve(kind, c.server.base+"/", address)
}
