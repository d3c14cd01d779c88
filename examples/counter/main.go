// Counter serves counters over HTTP, each a durable object in a folder on disk.
//
//	go run ./examples/counter
//	curl -X POST http://127.0.0.1:8080/counters/apples     adds one and answers the new value
//	curl http://127.0.0.1:8080/counters/apples             answers the value
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/pebblestore"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	data := flag.String("data", "counters.db", "folder that keeps the counters; created if need be")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("counters are served at http://%s/counters/{name} and kept in %s", l.Addr(), *data)
	if err := serve(ctx, l, *data); err != nil {
		log.Fatal(err)
	}
}

// grace is how long requests that run may take when the program is stopped.
const grace = 10 * time.Second

// serve answers requests until ctx ends, and then stops in order: the requests
// that run, the objects, the store.
func serve(ctx context.Context, l net.Listener, dir string) error {
	s, err := pebblestore.Open(dir, nil)
	if err != nil {
		l.Close()
		return err
	}
	rt, err := durable.Open(s, &durable.Options{Classes: []durable.Class{class}})
	if err != nil {
		return errors.Join(err, s.Close(), l.Close())
	}
	srv := &http.Server{Handler: handler(rt), ReadHeaderTimeout: grace}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()

	select {
	case err = <-failed:
	case <-rt.Draining(): // by itself only if the disk has failed
		err = rt.Err()
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	return errors.Join(err, srv.Shutdown(end), rt.Shutdown(end))
}

// handler passes each request on to the counter that it names.
func handler(rt *durable.Runtime) http.Handler {
	counters := rt.Namespace("Counter")
	pass := func(w http.ResponseWriter, r *http.Request) {
		counters.Named(r.PathValue("name")).ServeHTTP(w, r)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /counters/{name}", pass)
	mux.HandleFunc("POST /counters/{name}", pass)
	return mux
}

var class = durable.NewClass("Counter", func(_ context.Context, st *durable.State) (*Counter, error) {
	return &Counter{st.Storage()}, nil
}, nil)

// Counter is one counter. Its storage is its own, and nothing else of it runs
// between the reading and the writing: it needs no lock.
type Counter struct{ storage *durable.Storage }

// Add adds by and returns the new value.
func (c *Counter) Add(ctx context.Context, by int) (int, error) {
	var n int
	if _, err := c.storage.Get(ctx, "n", &n); err != nil || by == 0 {
		return n, err
	}
	n += by
	return n, c.storage.Put(ctx, "n", n)
}

func (c *Counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	by := 0
	if r.Method == http.MethodPost {
		by = 1
	}
	n, err := c.Add(r.Context(), by)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, n)
}
