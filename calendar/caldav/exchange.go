package caldav

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// request is one exchange with the server, before credentials.
type request struct {
	method string
	href   string // canonical
	query  string
	header http.Header
	body   []byte
}

// reads says that the request changes nothing, so that it may be sent again.
func (r *request) reads() bool {
	switch r.method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, "PROPFIND", "REPORT":
		return true
	}
	return false
}

// answer is a successful response. href is where it came from, after redirects.
type answer struct {
	*http.Response
	href string
}

// exchange sends a request and hands a 2xx answer to read. It is the one way out of this
// package:
//
//  1. Only the configured origin is ever asked; a redirect that leaves it is an error.
//  2. A credential goes out only through account.enter.
//  3. Only requests that change nothing are repeated, at most twice, on 503, and on 429
//     with Retry-After; never on 401, and never after read has begun.
//  4. No error text holds the credential.
//
// read is called at most once.
func (c *Client) exchange(ctx context.Context, r *request, read func(*answer) error) error {
	for attempt := 0; ; attempt++ {
		if err := c.quiet(ctx, r); err != nil {
			return c.wrap(r, err, false)
		}
		refusal, err := c.attempt(ctx, r, read)
		if refusal == nil {
			return err
		}
		c.hold(refusal)
		wait, again := backoff(refusal, attempt)
		if !again || !r.reads() || !c.mayWait(ctx, wait) {
			return refusal
		}
		if err := sleep(ctx, wait); err != nil {
			return c.wrap(r, err, false)
		}
	}
}

// attempt is one try: a slot, the request with its redirects, the answer read whole. An
// answer that is no success is the refusal; only that can be tried again, as what read has
// seen it can't be made to forget.
func (c *Client) attempt(ctx context.Context, r *request, read func(*answer) error) (refusal *StatusError, err error) {
	leave, err := c.account.enter(ctx)
	if err != nil {
		return nil, c.wrap(r, err, false)
	}
	defer leave()
	if err := c.server.pace.enter(ctx); err != nil {
		return nil, c.wrap(r, err, false)
	}
	defer c.server.pace.leave()
	ctx, cancel := context.WithTimeout(ctx, c.server.timeout)
	defer cancel()

	start := time.Now()
	resp, err := c.follow(ctx, r)
	if err != nil {
		return nil, err
	}
	defer drain(resp.Body)
	if c.account.saw(r.method, resp.StatusCode) {
		c.server.log.WarnContext(ctx, "the calendar server refuses a user name or password, which is not sent again",
			"server", c.Origin(), "username", c.account.cred.Username)
	}
	c.server.log.DebugContext(ctx, "caldav request", "method", r.method, "href", r.href,
		"status", resp.StatusCode, "took", time.Since(start))
	if resp.StatusCode/100 != 2 {
		return c.statusError(r, resp), nil
	}
	return nil, read(resp)
}

// drain reads a little more, so that the connection can be used again.
func drain(body io.ReadCloser) {
	io.CopyN(io.Discard, body, 64<<10)
	body.Close()
}

// maxRedirects is how many redirects one request may take.
const maxRedirects = 5

// follow sends the request and goes where the server redirects it within its origin,
// keeping method and body: Nextcloud answers PROPFIND on /.well-known/caldav with 301, and
// a GET instead would find a web page.
func (c *Client) follow(ctx context.Context, r *request) (*answer, error) {
	href, query := r.href, r.query
	for range maxRedirects {
		resp, err := c.send(ctx, r, href, query)
		if err != nil {
			return nil, err
		}
		if !redirected(r, resp) {
			return &answer{resp, href}, nil
		}
		next, err := c.server.origin.resolve("redirect", href, resp.Header.Get("Location"))
		drain(resp.Body)
		if err != nil {
			return nil, err
		}
		href, query = next, ""
	}
	return nil, fmt.Errorf("%w: %s %s: more than %d redirects", ErrMalformed, r.method, r.href, maxRedirects)
}

// redirected says whether to follow. A write follows only 307 and 308, which promise that
// it was not done.
func redirected(r *request, resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	case http.StatusMovedPermanently, http.StatusFound:
		if !r.reads() {
			return false
		}
	default:
		return false
	}
	return resp.Header.Get("Location") != ""
}

func (c *Client) send(ctx context.Context, r *request, href, query string) (*http.Response, error) {
	target := c.server.origin.String() + href
	if query != "" {
		target += "?" + query
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(r.body))
	if err != nil {
		return nil, c.wrap(r, err, false)
	}
	if r.header != nil {
		req.Header = r.header.Clone()
	}
	if len(r.body) == 0 {
		req.Body, req.GetBody = http.NoBody, nil
	}
	req.Header.Set("User-Agent", c.server.userAgent)
	if r.reads() {
		// With an empty list net/http sends no such header, but repeats the request
		// when a kept-alive connection turns out to be closed.
		req.Header["Idempotency-Key"] = []string{}
	}
	if c.account.cred != (Credential{}) {
		req.Header.Set("Authorization", c.account.cred.header())
	}
	resp, err := c.server.http.Do(req)
	if err != nil {
		var ue *url.Error // it repeats method and URL
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, c.wrap(r, err, true)
	}
	return resp, nil
}

// wrap gives an error that is no answer its method and href.
func (c *Client) wrap(r *request, err error, sent bool) error {
	var status *StatusError
	if errors.As(err, &status) {
		status.Method, status.Href = r.method, r.href
		return status
	}
	var limit *LimitError
	if errors.As(err, &limit) || errors.Is(err, ErrMalformed) {
		return fmt.Errorf("%s %s: %w", r.method, r.href, err)
	}
	if text := err.Error(); c.account.cred.redact(text) != text {
		err = errors.New(c.account.cred.redact(text))
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		sent = false
	}
	return &TransportError{Method: r.method, Href: r.href, Unknown: sent && !r.reads(), Err: err}
}

// statusError reads the answer to a request that did not succeed.
func (c *Client) statusError(r *request, resp *answer) *StatusError {
	e := &StatusError{
		Method:     r.method,
		Href:       r.href,
		Status:     resp.StatusCode,
		RetryAfter: retryAfter(resp.Header),
		ETag:       headerETag(resp.Header),
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	e.Preconditions, e.Message = davError(body)
	e.Message = clip(c.account.cred.redact(e.Message), 300)
	return e
}

// davError reads a DAV:error body (RFC 4918, section 14.5) with a message in it, sabre's or
// Cyrus's.
// What is not one says nothing.
func davError(body []byte) (names []xml.Name, message string) {
	d := newDecoder(bytes.NewReader(body), 64<<10, 64<<10)
	root, err := d.document()
	if err != nil || root.name != dav("error") {
		return nil, ""
	}
	return conditions(root)
}

// conditions returns the names in a DAV:error and the message to a person.
func conditions(n *node) (names []xml.Name, message string) {
	for _, kid := range n.kids {
		switch {
		case kid.name == dav("responsedescription"), kid.name == xml.Name{Space: nsSabre, Local: "message"}:
			message = strings.TrimSpace(kid.text)
		case kid.name.Space == nsDAV || kid.name.Space == nsCalDAV:
			names = append(names, kid.name)
		}
	}
	return names, message
}

// read returns a body of at most limit bytes.
func (c *Client) read(r *request, resp *answer, limit int64) ([]byte, error) {
	body := &limitReader{r: resp.Body, left: limit, err: &LimitError{What: "object", Limit: limit}}
	if resp.ContentLength > limit {
		return nil, c.wrap(r, body.err, false)
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, c.wrap(r, err, true)
	}
	return data, nil
}

// limitReader fails with err where io.LimitReader would end.
type limitReader struct {
	r    io.Reader
	left int64
	err  error
}

func (l *limitReader) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, l.err
	}
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return n, l.err
	}
	return n, err
}
