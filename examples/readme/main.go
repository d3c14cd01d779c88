// Readme is the program on the README's first screen.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/pebblestore"
)

type Counter struct{ st *durable.State }

func (c *Counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var n int
	_, err := c.st.Storage().Get(r.Context(), "n", &n)
	if err == nil {
		err = c.st.Storage().Put(r.Context(), "n", n+1)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, n+1) // leaves only once n+1 is on disk
}

func main() {
	class := durable.NewClass("Counter", func(_ context.Context, st *durable.State) (*Counter, error) { return &Counter{st}, nil }, nil)
	st, err := pebblestore.Open("counters", nil)
	if err != nil {
		log.Fatal(err)
	}
	rt, err := durable.Open(st, &durable.Options{Classes: []durable.Class{class}})
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	http.HandleFunc("/counters/{name}", func(w http.ResponseWriter, r *http.Request) {
		rt.Namespace("Counter").Named(r.PathValue("name")).ServeHTTP(w, r)
	})
	log.Print(http.ListenAndServe("127.0.0.1:8080", nil))
}
