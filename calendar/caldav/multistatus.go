package caldav

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// response is one DAV:response of a multistatus (RFC 4918, section 14.24): either a status
// for its resources, or properties by status.
type response struct {
	hrefs  []string // as sent
	status int      // of the resources; 0 if there are propstats
	found  []*node  // properties with a 2xx status
	failed []PropStatus

	preconditions []xml.Name // in DAV:error
	description   string
}

// prop returns a property that was found, or nil.
func (r *response) prop(name xml.Name) *node {
	for _, n := range r.found {
		if n.name == name {
			return n
		}
	}
	return nil
}

// raw returns the text of a property as it is, or "".
func (r *response) raw(name xml.Name) string {
	if n := r.prop(name); n != nil {
		return n.text
	}
	return ""
}

// text returns the text of a property without white space around it.
func (r *response) text(name xml.Name) string { return strings.TrimSpace(r.raw(name)) }

// multistatus reads a DAV:multistatus response by response, and returns its DAV:sync-token
// (RFC 6578, section 6.4) if it has one.
func (d *decoder) multistatus(each func(*response) error) (token string, err error) {
	root, err := d.root()
	if err != nil {
		return "", err
	}
	if root.Name != dav("multistatus") {
		return "", fmt.Errorf("%w: %s instead of multistatus", ErrMalformed, clip(root.Name.Local, 60))
	}
	for {
		d.mark()
		tok, err := d.next()
		if err == io.EOF {
			return "", fmt.Errorf("%w: the XML breaks off", ErrMalformed)
		}
		if err != nil {
			return "", err
		}
		switch tok := tok.(type) {
		case xml.EndElement:
			return token, nil
		case xml.StartElement:
			n, err := d.element(tok, 2)
			if err != nil {
				return "", err
			}
			switch n.name {
			case propSyncToken:
				token = strings.TrimSpace(n.text)
			case dav("response"):
				if err := each(newResponse(n)); err != nil {
					return "", err
				}
			}
		}
	}
}

func newResponse(n *node) *response {
	r := &response{}
	for _, kid := range n.kids {
		switch kid.name {
		case dav("href"):
			r.hrefs = append(r.hrefs, kid.text)
		case dav("status"):
			r.status = statusCode(kid.text)
		case dav("propstat"):
			r.propstat(kid)
		case dav("error"):
			r.preconditions, _ = conditions(kid)
		case dav("responsedescription"):
			r.description = strings.TrimSpace(kid.text)
		}
	}
	return r
}

func (r *response) propstat(n *node) {
	status := 0
	if s := n.kid(dav("status")); s != nil {
		status = statusCode(s.text)
	}
	props := n.kid(dav("prop"))
	if props == nil {
		return
	}
	for _, p := range props.kids {
		if status/100 == 2 {
			r.found = append(r.found, p)
		} else {
			r.failed = append(r.failed, PropStatus{p.name, status})
		}
	}
}

// statusCode reads "HTTP/1.1 200 OK". What is none is 0.
func statusCode(line string) int {
	fields := strings.Fields(line)
	if len(fields) < 2 || !strings.HasPrefix(fields[0], "HTTP/") {
		return 0
	}
	code, err := strconv.Atoi(fields[1])
	if err != nil || code < 100 || code > 999 {
		return 0
	}
	return code
}

// multistatus sends a request that is answered with 207 and hands over each resource under
// its canonical href, as it is read.
func (c *Client) multistatus(ctx context.Context, r *request, each func(href string, resp *response) error) (token string, err error) {
	err = c.exchange(ctx, r, func(a *answer) error {
		if a.StatusCode != http.StatusMultiStatus {
			return c.wrap(r, fmt.Errorf("%w: %d instead of 207", ErrMalformed, a.StatusCode), false)
		}
		d := newDecoder(a.Body, c.server.listing, 2*c.server.object)
		var inner error // what each returned, not to be wrapped
		token, err = d.multistatus(func(resp *response) error {
			for _, ref := range resp.hrefs {
				href, err := c.server.origin.resolve("href", a.href, ref)
				if err != nil {
					inner = err
					return err
				}
				if inner = each(href, resp); inner != nil {
					return inner
				}
			}
			return nil
		})
		if err != nil && inner == nil {
			err = c.wrap(r, err, true)
		}
		return err
	})
	return token, err
}

// refusal finds the failure in an answer to a write that is 2xx only outwardly: a 207 may
// hold the statuses of properties, and Xandikos puts a 412 for the object itself into it.
// Its hrefs are not looked at, as the request had one resource.
func (c *Client) refusal(r *request, a *answer) error {
	if a.StatusCode != http.StatusMultiStatus {
		return nil
	}
	failed, dependent := &PropError{Href: r.href}, &PropError{Href: r.href}
	var status *StatusError
	d := newDecoder(a.Body, c.server.object, c.server.object)
	_, err := d.multistatus(func(resp *response) error {
		if resp.status != 0 && resp.status/100 != 2 {
			status = &StatusError{Method: r.method, Href: r.href, Status: resp.status, Preconditions: resp.preconditions,
				Message: clip(c.account.cred.redact(resp.description), 300)}
		}
		for _, p := range resp.failed {
			if p.Status == http.StatusFailedDependency {
				dependent.Props = append(dependent.Props, p)
			} else {
				failed.Props = append(failed.Props, p)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return c.wrap(r, err, true)
	case status != nil:
		return status
	case len(failed.Props) > 0:
		return failed
	case len(dependent.Props) > 0:
		return dependent
	}
	return nil
}

func xmlHeader(depth string) http.Header {
	h := http.Header{"Content-Type": {"application/xml; charset=utf-8"}}
	if depth != "" {
		h.Set("Depth", depth)
	}
	return h
}

// propfind asks for properties (RFC 4918, section 9.1).
func (c *Client) propfind(ctx context.Context, href, depth string, names []xml.Name, each func(href string, resp *response) error) error {
	r := &request{
		method: "PROPFIND",
		href:   href,
		header: xmlHeader(depth),
		body:   newBody(dav("propfind")).props(names...).bytes(),
	}
	// Absent properties need not be listed, which is half of Nextcloud's answer.
	r.header.Set("Prefer", "return=minimal")
	_, err := c.multistatus(ctx, r, each)
	return err
}
