// Objects serves durable objects to measure:
//
//	/noop/{name}           an answer without storage
//	/inc/{name}            a durable get and put
//	/get/{name}            a get
//	/fill/{name}?n=N       writes N keys
//	/list/{name}?limit=N   lists N keys, all if there is no limit
//	/bare                  the floor: net/http without an object
//
// Run it as go run ./bench/objects --addr 127.0.0.1:8788 --data DIR and send it
// requests with any load generator; docs/design.md says what came of that.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
	"github.com/perdure/perdure/store/pebblestore"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8788", "address to listen on")
	data := flag.String("data", "", "folder for data; none: in memory")
	flag.Parse()
	if err := run(*addr, *data); err != nil {
		log.Fatal(err)
	}
}

func run(addr, data string) error {
	var st store.Store = memstore.New(nil)
	if data != "" {
		var err error
		if st, err = pebblestore.Open(data, nil); err != nil {
			return err
		}
	}
	rt, err := durable.Open(st, &durable.Options{Classes: []durable.Class{
		durable.NewClass("Object", func(_ context.Context, st *durable.State) (*Object, error) { return &Object{st}, nil }, nil),
	}})
	if err != nil {
		return errors.Join(err, st.Close())
	}
	srv := &http.Server{Addr: addr, Handler: Handler(rt)}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, func() { srv.Shutdown(context.Background()) })
	fmt.Printf("serving http://%s/noop/a, /inc/a, /get/a, /fill/a?n=1000, /list/a?limit=100, /bare\n", addr)
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(err, rt.Close())
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return rt.Shutdown(grace)
}

// Handler routes /{operation}/{name} to the object with that name.
func Handler(rt *durable.Runtime) http.Handler {
	objects := rt.Namespace("Object")
	mux := http.NewServeMux()
	mux.HandleFunc("/bare", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	mux.HandleFunc("/{op}/{name}", func(w http.ResponseWriter, r *http.Request) {
		objects.Named(r.PathValue("name")).ServeHTTP(w, r)
	})
	return mux
}

// Object is what is measured.
type Object struct{ st *durable.State }

func (o *Object) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := o.do(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header()["Content-Type"] = []string{"text/plain; charset=utf-8"}
	io.WriteString(w, body)
}

func (o *Object) do(r *http.Request) (string, error) {
	ctx := r.Context()
	path := r.URL.Path[1:]
	switch path[:min(len(path), 4)] {
	case "noop":
		return "ok", nil
	case "inc/":
		n, err := o.Inc(ctx)
		return strconv.Itoa(n), err
	case "get/":
		var n int
		_, err := o.st.Storage().Get(ctx, "n", &n)
		return strconv.Itoa(n), err
	case "fill":
		return o.fill(ctx, r.FormValue("n"))
	case "list":
		return o.list(ctx, r.FormValue("limit"))
	}
	return "", fmt.Errorf("no operation %q", path)
}

// Inc adds one to a durable number.
func (o *Object) Inc(ctx context.Context) (int, error) {
	var n int
	if _, err := o.st.Storage().Get(ctx, "n", &n); err != nil {
		return 0, err
	}
	n++
	return n, o.st.Storage().Put(ctx, "n", n)
}

func (o *Object) fill(ctx context.Context, count string) (string, error) {
	n, err := strconv.Atoi(count)
	if err != nil {
		return "", fmt.Errorf("n: %w", err)
	}
	value := make([]byte, 100)
	for i := range n {
		if err := o.st.Storage().PutRaw(ctx, fmt.Sprintf("item:%08d", i), value); err != nil {
			return "", err
		}
	}
	return strconv.Itoa(n), nil
}

func (o *Object) list(ctx context.Context, limit string) (string, error) {
	opts := durable.ListOptions{Prefix: "item:"}
	if limit != "" {
		var err error
		if opts.Limit, err = strconv.Atoi(limit); err != nil {
			return "", fmt.Errorf("limit: %w", err)
		}
	}
	n := 0
	for _, err := range o.st.Storage().List(ctx, opts) {
		if err != nil {
			return "", err
		}
		n++
	}
	return strconv.Itoa(n), nil
}
