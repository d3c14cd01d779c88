package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/perdure/perdure/durable"
)

// Rate is a token bucket's: Burst requests at once, and one more each Every.
type Rate struct {
	Every time.Duration
	Burst int
}

// Bucket is the token bucket of one client.
//
// What it stores is one moment, that at which the bucket will be full again: each
// token taken puts it off by Rate.Every. A full bucket is as good as none, so an
// alarm at that moment deletes it, and clients that stay away cost nothing.
type Bucket struct {
	st   *durable.State
	rate Rate
}

const fullKey = "full"

// Buckets returns the class of buckets with that rate.
func Buckets(rate Rate) durable.Class {
	return durable.NewClass("Bucket", func(_ context.Context, st *durable.State) (*Bucket, error) {
		return &Bucket{st, rate}, nil
	}, nil)
}

// Take takes a token if there is one and returns 0; otherwise it takes nothing
// and returns how long it will be until there is one.
func (b *Bucket) Take(ctx context.Context) (wait time.Duration, err error) {
	now := b.st.Now()
	full, err := b.full(ctx)
	if err != nil {
		return 0, err
	}
	if full.Before(now) {
		full = now
	}
	full = full.Add(b.rate.Every)
	if wait := full.Sub(now) - time.Duration(b.rate.Burst)*b.rate.Every; wait > 0 {
		return wait, nil
	}
	if err := b.st.Storage().Put(ctx, fullKey, full); err != nil {
		return 0, err
	}
	if _, set, err := b.st.Storage().GetAlarm(ctx); err != nil || set {
		return 0, err // Alarm itself finds out that it came too early
	}
	return 0, b.st.Storage().SetAlarm(ctx, full)
}

// full returns when the bucket is full again; for one without record that is past.
func (b *Bucket) full(ctx context.Context) (time.Time, error) {
	var full time.Time
	_, err := b.st.Storage().Get(ctx, fullKey, &full)
	return full, err
}

// Alarm deletes the bucket if nobody has taken from it for long enough.
func (b *Bucket) Alarm(ctx context.Context, _ durable.AlarmInfo) error {
	full, err := b.full(ctx)
	if err != nil {
		return err
	}
	if full.After(b.st.Now()) {
		return b.st.Storage().SetAlarm(ctx, full)
	}
	return b.st.Storage().DeleteAll(ctx)
}

// Limit lets a request through to next if the bucket of its client, by key, has a
// token, and answers 429 with Retry-After otherwise. If the bucket can't be asked
// it answers 503: what is behind a limit is not left open.
func Limit(buckets *durable.Namespace, key func(*http.Request) string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wait, err := durable.Call0(r.Context(), buckets.Named(key(r)), (*Bucket).Take)
		switch {
		case errors.Is(err, context.Canceled): // the client has gone
		case err != nil:
			http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		case wait > 0:
			seconds := (wait + time.Second - 1) / time.Second
			w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
			http.Error(w, http.StatusText(http.StatusTooManyRequests), http.StatusTooManyRequests)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// ByAddress is a key for Limit: the address that the request comes from. Behind a
// proxy that is the proxy's.
func ByAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
