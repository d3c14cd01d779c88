// Package classtest runs one object of a class for a test and shows what it does
// to its storage. It works inside a testing/synctest bubble.
package classtest

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
)

// Object is an object of the class under test, and the runtime that it lives in.
type Object struct {
	*durable.Stub
	t     testing.TB
	opts  *durable.Options
	store *counted
	rt    *durable.Runtime
}

// Open starts a runtime with the class, the first in opts, until the end of the test.
func Open(t testing.TB, opts *durable.Options) *Object {
	t.Helper()
	o := &Object{t: t, opts: opts, store: &counted{Store: memstore.New(nil)}}
	o.open()
	return o
}

func (o *Object) open() {
	o.t.Helper()
	rt, err := durable.Open(o.store, o.opts)
	if err != nil {
		o.t.Fatal(err)
	}
	o.rt = rt
	o.t.Cleanup(func() { rt.Close() })
	o.Stub = rt.Namespace(o.opts.Classes[0].Name()).Named("o")
}

// Crash loses the runtime and starts another one on what was durable.
func (o *Object) Crash() {
	o.t.Helper()
	after := &counted{Store: o.store.Crash()}
	o.rt.Close() // only its goroutines are left to end
	o.store = after
	o.open()
}

// Do sends a request and returns the answer.
func (o *Object) Do(method, path, body string) *httptest.ResponseRecorder {
	o.t.Helper()
	w := httptest.NewRecorder()
	o.ServeHTTP(w, httptest.NewRequest(method, "http://do"+path, strings.NewReader(body)))
	return w
}

// DoRaw sends a request whose path net/url need not understand.
func (o *Object) DoRaw(method, path string) *httptest.ResponseRecorder {
	o.t.Helper()
	r := httptest.NewRequest(method, "http://do/", nil)
	r.URL.Path, r.URL.RawPath = path, path
	w := httptest.NewRecorder()
	o.ServeHTTP(w, r)
	return w
}

// Want sends a request and reports an answer with another status. It returns the body.
func (o *Object) Want(status int, method, path, body string) string {
	o.t.Helper()
	w := o.Do(method, path, body)
	if w.Code != status {
		o.t.Errorf("%s %.200s %.200s = %d %.200s, want %d", method, path, body, w.Code, w.Body, status)
	}
	return w.Body.String()
}

// Keys returns all keys in the object's storage, in order.
func (o *Object) Keys() []string {
	o.t.Helper()
	keys := []string{}
	ctx := context.Background()
	for ns := range uint32(4) {
		err := o.store.Store.Objects(ctx, ns, [32]byte{}, func(id [32]byte, _ *store.Header) bool {
			obj := store.Object{Namespace: ns, ID: id}
			err := o.store.Store.Scan(ctx, obj, store.Range{}, func(key, _ []byte) bool {
				keys = append(keys, string(key))
				return true
			})
			if err != nil {
				o.t.Fatal(err)
			}
			return true
		})
		if err != nil {
			o.t.Fatal(err)
		}
	}
	return keys
}

// Alarms returns how many alarms are set.
func (o *Object) Alarms() int {
	o.t.Helper()
	due, err := o.store.Alarms(context.Background(), nil, 10)
	if err != nil {
		o.t.Fatal(err)
	}
	return len(due)
}

// AlarmTime returns when the alarm is due, in Unix milliseconds; 0: there is none.
func (o *Object) AlarmTime() int64 {
	o.t.Helper()
	due, err := o.store.Alarms(context.Background(), nil, 1)
	if err != nil {
		o.t.Fatal(err)
	}
	if len(due) == 0 {
		return 0
	}
	return due[0].Alarm.Due
}

// Cost is what a part of a test did to storage.
type Cost struct {
	Batches int64 // commits
	Ops     int64 // keys set or deleted in them
	Scans   int64 // lists
}

// Cost returns what fn did to storage, as far as the runtime asked the engine.
func (o *Object) Cost(fn func()) Cost {
	before := o.store.cost()
	fn()
	after := o.store.cost()
	return Cost{after.Batches - before.Batches, after.Ops - before.Ops, after.Scans - before.Scans}
}

// counted counts what the runtime asks an engine for.
type counted struct {
	*memstore.Store
	batches, ops, scans atomic.Int64
}

func (c *counted) cost() Cost { return Cost{c.batches.Load(), c.ops.Load(), c.scans.Load()} }

func (c *counted) Apply(b *store.Batch) store.Commit {
	c.batches.Add(1)
	c.ops.Add(int64(len(b.Ops)))
	return c.Store.Apply(b)
}

func (c *counted) Scan(ctx context.Context, o store.Object, r store.Range, yield func(key, value []byte) bool) error {
	c.scans.Add(1)
	return c.Store.Scan(ctx, o, r, yield)
}
