package caldav

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestRetryAfter: a short pause is waited out by reads, a long one is an error at once, and
// then nothing is sent until it is over.
func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		after  string
		others bool // other users have to wait as well
		want   error
	}{
		{"503", 503, "7", true, ErrUnavailable},
		{"429", 429, "7", false, ErrRateLimited},
		{"429 with a date", 429, "DATE", false, ErrRateLimited},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests, refuse int
				after := tt.after
				rt := roundTripper(func(req *http.Request) (*http.Response, error) {
					requests++
					if refuse > 0 {
						refuse--
						resp := newResponseTo(req, tt.status, "")
						if after == "DATE" {
							resp.Header.Set("Retry-After", time.Now().Add(7*time.Second).UTC().Format(http.TimeFormat))
						} else {
							resp.Header.Set("Retry-After", after)
						}
						return resp, nil
					}
					return newResponseTo(req, 207, aCalendar), nil
				})
				c := newTestClient(t, rt, nil)
				version := func(c *Client) (time.Duration, error) {
					start := time.Now()
					_, err := c.GetVersion(t.Context(), calHref)
					return time.Since(start), err
				}
				refuse = 1
				if took, err := version(c); err != nil || took < 6*time.Second || took > 8*time.Second || requests != 2 {
					t.Errorf("one refusal: %v after %v and %d requests", err, took, requests)
				}
				requests, refuse = 0, 100
				if took, err := version(c); !errors.Is(err, tt.want) || requests != 3 || took > 15*time.Second {
					t.Errorf("refusals: %v after %v and %d requests, want %v after 3", err, took, requests, tt.want)
				}
				time.Sleep(time.Minute)
				requests, refuse, after = 0, 1, "3600"
				if took, err := version(c); !errors.Is(err, tt.want) || took != 0 || requests != 1 {
					t.Errorf("a long pause: %v after %v", err, took)
				}
				_, err := version(c)
				if s := statusOf(t, err); !s.Remembered || s.RetryAfter != time.Hour || requests != 1 {
					t.Errorf("within the pause: %v, %d requests", err, requests)
				}
				other := c.As(Credential{"bob", "x"})
				if _, err := version(other); (err != nil) != tt.others {
					t.Errorf("another user within the pause: %v", err)
				}
				time.Sleep(time.Hour)
				if took, err := version(c); err != nil || took != 0 {
					t.Errorf("after the pause: %v after %v", err, took)
				}
			})
		})
	}
}

// TestWaitsEnd: waits obey the caller's deadline and cancellation.
func TestWaitsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := roundTripper(func(req *http.Request) (*http.Response, error) {
			resp := newResponseTo(req, 503, "")
			resp.Header.Set("Retry-After", "20")
			return resp, nil
		})
		c := newTestClient(t, rt, nil)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := c.GetVersion(ctx, calHref); !errors.Is(err, ErrUnavailable) || time.Since(start) != 0 {
			t.Errorf("with a deadline before the pause's end: %v after %v", err, time.Since(start))
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := c.GetVersion(ctx, calHref); !errors.Is(err, context.Canceled) || time.Since(start) != time.Second {
			t.Errorf("cancelled: %v after %v", err, time.Since(start))
		}
	})
}

// TestWritesAreNotRepeated: not on 503, not on 429, not on 500.
func TestWritesAreNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, status := range []int{429, 500, 502, 503, 504} {
			n := 0
			rt := roundTripper(func(req *http.Request) (*http.Response, error) {
				if req.Method == "PROPFIND" {
					return newResponseTo(req, 207, aCalendar), nil
				}
				n++
				resp := newResponseTo(req, status, "")
				resp.Header.Set("Retry-After", "1")
				return resp, nil
			})
			c := newTestClient(t, rt, nil)
			_, err := c.UpdateObject(t.Context(), calHref+"a.ics", `"1"`, []byte("x"))
			if statusOf(t, err).Status != status || n != 1 {
				t.Errorf("%d: %v, sent %d times", status, err, n)
			}
		}
	})
}
