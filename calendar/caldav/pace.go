package caldav

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// pace keeps a server's load within bounds: so many requests at a time, none while the
// server has asked for quiet.
type pace struct {
	slots chan struct{}

	mu     sync.Mutex // guards paused
	paused time.Time  // no request before this: a 503 said so
}

// enter takes a slot. The caller gives it back with leave.
func (p *pace) enter(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *pace) leave() { <-p.slots }

// hold remembers that the server asked for quiet: a 503 speaks for the server, a 429 for
// the user.
func (c *Client) hold(err *StatusError) {
	if err.RetryAfter <= 0 {
		return
	}
	until := time.Now().Add(err.RetryAfter)
	switch err.Status {
	case http.StatusServiceUnavailable:
		c.server.pace.mu.Lock()
		c.server.pace.paused = later(c.server.pace.paused, until)
		c.server.pace.mu.Unlock()
	case http.StatusTooManyRequests:
		c.account.mu.Lock()
		c.account.paused = later(c.account.paused, until)
		c.account.mu.Unlock()
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// quiet waits for the end of a pause, or returns at once if that is too far away.
func (c *Client) quiet(ctx context.Context, r *request) error {
	for {
		c.server.pace.mu.Lock()
		until, status := c.server.pace.paused, http.StatusServiceUnavailable
		c.server.pace.mu.Unlock()
		c.account.mu.Lock()
		if c.account.paused.After(until) {
			until, status = c.account.paused, http.StatusTooManyRequests
		}
		c.account.mu.Unlock()
		wait := time.Until(until)
		if wait <= 0 {
			return nil
		}
		if !c.mayWait(ctx, wait) {
			return &StatusError{Method: r.method, Href: r.href, Status: status, RetryAfter: wait, Remembered: true}
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// mayWait says whether a wait is short enough, for us and for the caller's deadline.
func (c *Client) mayWait(ctx context.Context, wait time.Duration) bool {
	if wait > c.server.maxWait {
		return false
	}
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > wait
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// retries is how often a request that reads is sent again.
const retries = 2

// backoff returns how long to wait before a further attempt, and whether there is one.
// A 429 without Retry-After is not tried again: Nextcloud's says nothing, and lasts half an
// hour. A 401 never is.
func backoff(err *StatusError, attempt int) (time.Duration, bool) {
	switch {
	case attempt >= retries:
		return 0, false
	case err.Status == http.StatusTooManyRequests || err.Status == http.StatusServiceUnavailable:
		if err.RetryAfter > 0 {
			return err.RetryAfter, true
		}
		return time.Second << attempt, err.Status == http.StatusServiceUnavailable
	}
	return 0, false
}

// retryAfter reads the header: seconds or a date (RFC 9110, section 10.2.3).
func retryAfter(h http.Header) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	const most = 24 * time.Hour
	if n, err := strconv.ParseUint(v, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, most)
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(t), 0), most)
	}
	return 0
}
