package caldav

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestUnauthorizedOnce: however many callers start with a wrong password, the server sees
// it once; another password is tried, and Forget tries again.
func TestUnauthorizedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wrong atomic.Int32
		rt := roundTripper(func(req *http.Request) (*http.Response, error) {
			time.Sleep(time.Second) // in the bubble: all callers are there by now
			if _, password, _ := req.BasicAuth(); password != testSecret {
				wrong.Add(1)
				return newResponseTo(req, 401, ""), nil
			}
			return newResponseTo(req, 207, aCalendar), nil
		})
		c := newTestClient(t, rt, nil)
		bad := c.As(Credential{testUser, "wrong-horse"})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				_, err := c.As(Credential{testUser, "wrong-horse"}).GetVersion(t.Context(), calHref)
				if !errors.Is(err, ErrUnauthorized) {
					t.Errorf("GetVersion = %v, want ErrUnauthorized", err)
				}
			})
		}
		wg.Wait()
		_, err := bad.GetVersion(t.Context(), calHref)
		if !statusOf(t, err).Remembered || wrong.Load() != 1 {
			t.Errorf("the server saw the password %d times, want 1 (%v)", wrong.Load(), err)
		}
		if _, err := c.GetVersion(t.Context(), calHref); err != nil {
			t.Errorf("the right password: %v", err)
		}
		bad.Forget()
		if _, err := bad.GetVersion(t.Context(), calHref); statusOf(t, err).Remembered || wrong.Load() != 2 {
			t.Errorf("after Forget: seen %d times, want 2 (%v)", wrong.Load(), err)
		}
		for _, text := range []string{fmt.Sprintf("%v %+v %#v", bad.account.cred, bad.account.cred, bad.account.cred), err.Error()} {
			if strings.Contains(text, "wrong-horse") {
				t.Errorf("password in %q", text)
			}
		}
	})
}

// TestProbingIsSerial: until a credential is accepted, one request at a time carries it,
// then as many as the server's bound allows.
func TestProbingIsSerial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var running, most int
		var alone, accepted bool
		rt := roundTripper(func(req *http.Request) (*http.Response, error) {
			mu.Lock()
			running++
			most = max(most, running)
			ours := req.Header.Get("Authorization") != ""
			if ours && alone {
				t.Error("two requests with an unproven credential")
			}
			alone = ours && !accepted
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			running--
			if ours {
				alone, accepted = false, true
			}
			return newResponseTo(req, 207, aCalendar), nil
		})
		c := newTestClient(t, rt, func(o *Options) { o.Concurrency = 4 })
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 13 {
			cl := c
			if i%2 == 1 && i > 2 {
				cl = c.As(Credential{}) // another user shares the bound
			}
			wg.Go(func() {
				if _, err := cl.GetVersion(t.Context(), calHref); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if most != 4 {
			t.Errorf("%d requests at a time, want 4", most)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %v: the bound was not used", took)
		}
	})
}

// TestNoCredentialInErrors: a server or transport that repeats the password does not get
// it into an error.
func TestNoCredentialInErrors(t *testing.T) {
	secret := Credential{testUser, testSecret}
	for name, rt := range map[string]roundTripper{
		"message": func(req *http.Request) (*http.Response, error) {
			return newResponseTo(req, 400, `<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns"><s:message>you sent `+
				req.Header.Get("Authorization")+" that is "+testSecret+`</s:message></d:error>`), nil
		},
		"transport": func(req *http.Request) (*http.Response, error) {
			return nil, errors.New("could not send " + req.Header.Get("Authorization") + " " + testSecret)
		},
		"location": func(req *http.Request) (*http.Response, error) {
			resp := newResponseTo(req, 301, "")
			resp.Header.Set("Location", "https://"+testUser+":"+testSecret+"@evil.example/")
			return resp, nil
		},
	} {
		var log bytes.Buffer
		c := newTestClient(t, rt, func(o *Options) {
			o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		_, err := c.GetVersion(t.Context(), calHref)
		if err == nil {
			t.Fatalf("%s: no error", name)
		}
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), log.String()} {
			if strings.Contains(text, testSecret) || strings.Contains(text, strings.TrimPrefix(secret.header(), "Basic ")) {
				t.Errorf("%s: credential in %q", name, text)
			}
		}
	}
}
