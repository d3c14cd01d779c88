package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.etcd.io/bbolt"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/pebblestore"
)

// hello is what a server says of itself on standard output.
type hello struct{ Addr string }

// serveKind serves one of our own peers, with data in dir, until ctx ends.
func serveKind(ctx context.Context, kind, dir string) (err error) {
	h, end, err := handler(kind, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { srv.Close() })
	if err := json.NewEncoder(os.Stdout).Encode(hello{l.Addr().String()}); err != nil {
		return err
	}
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// handler answers /noop/{name}, /get/{name} and /inc/{name}: from objects, from bbolt
// without objects, or bare, which is net/http and nothing else.
func handler(kind, dir string) (http.Handler, func() error, error) {
	mux := http.NewServeMux()
	switch kind {
	case "bare":
		mux.HandleFunc("/noop/{name}", func(w http.ResponseWriter, r *http.Request) { text(w, "ok") })
		return mux, func() error { return nil }, nil
	case "objects":
		rt, err := openObjects(dir)
		if err != nil {
			return nil, nil, err
		}
		objects := rt.Namespace("Counter")
		mux.HandleFunc("/{operation}/{name}", func(w http.ResponseWriter, r *http.Request) {
			objects.Named(r.PathValue("name")).ServeHTTP(w, r)
		})
		return mux, rt.Close, nil
	case "bolt", "bolt-batch":
		db, err := bbolt.Open(filepath.Join(dir, "bolt"), 0o600, &bbolt.Options{Timeout: time.Second})
		if err != nil {
			return nil, nil, err
		}
		db.MaxBatchDelay = time.Millisecond // 10 ms by default: with few callers that is all one would see
		commit := db.Update
		if kind == "bolt-batch" {
			commit = db.Batch
		}
		mux.HandleFunc("/inc/{name}", func(w http.ResponseWriter, r *http.Request) {
			n, err := boltIncrement(commit, r.PathValue("name"))
			answer(w, n, err)
		})
		mux.HandleFunc("/get/{name}", func(w http.ResponseWriter, r *http.Request) {
			n, err := boltGet(db, r.PathValue("name"))
			answer(w, n, err)
		})
		return mux, db.Close, nil
	}
	return nil, nil, fmt.Errorf("there is no server %q", kind)
}

func answer(w http.ResponseWriter, n int, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	text(w, strconv.Itoa(n))
}

func text(w http.ResponseWriter, s string) {
	w.Header()["Content-Type"] = []string{"text/plain; charset=utf-8"}
	io.WriteString(w, s)
}

// Counter is the object that is measured; Counter of objects.js is the same.
type Counter struct{ st *durable.State }

func openObjects(dir string) (*durable.Runtime, error) {
	st, err := pebblestore.Open(dir, nil)
	if err != nil {
		return nil, err
	}
	class := durable.NewClass("Counter", func(_ context.Context, st *durable.State) (*Counter, error) { return &Counter{st}, nil }, nil)
	rt, err := durable.Open(st, &durable.Options{Classes: []durable.Class{class}})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return rt, nil
}

func (c *Counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch path[:min(len(path), 5)] {
	case "/noop":
		text(w, "ok")
	case "/get/":
		var n int
		_, err := c.st.Storage().Get(r.Context(), "n", &n)
		answer(w, n, err)
	case "/inc/":
		n, err := c.increment(r.Context())
		answer(w, n, err)
	default:
		http.NotFound(w, r)
	}
}

func (c *Counter) increment(ctx context.Context) (int, error) {
	var n int
	if _, err := c.st.Storage().Get(ctx, "n", &n); err != nil {
		return 0, err
	}
	return n + 1, c.st.Storage().Put(ctx, "n", n+1)
}

var bucket = []byte("counters")

func boltIncrement(commit func(func(*bbolt.Tx) error) error, name string) (n int, err error) {
	err = commit(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil {
			return err
		}
		n, _ = strconv.Atoi(string(b.Get([]byte(name)))) // none counts as 0
		n++
		return b.Put([]byte(name), strconv.AppendInt(nil, int64(n), 10))
	})
	return n, err
}

func boltGet(db *bbolt.DB, name string) (n int, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucket); b != nil {
			n, _ = strconv.Atoi(string(b.Get([]byte(name))))
		}
		return nil
	})
	return n, err
}
