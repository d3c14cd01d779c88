// Ratelimit puts a limit on the requests of each client: a token bucket that is a
// durable object, so that restarting the server gives nobody a new one.
//
//	go run ./examples/ratelimit -every 10s -burst 3
//	curl -i http://127.0.0.1:8080/     the fourth within ten seconds is answered 429
package main

import (
	"context"
	"errors"
	"flag"
	"io"
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
	data := flag.String("data", "buckets.db", "folder that keeps the buckets; created if need be")
	var rate Rate
	flag.DurationVar(&rate.Every, "every", time.Second, "a client gets a token each `duration`")
	flag.IntVar(&rate.Burst, "burst", 5, "and may save up `n`")
	flag.Parse()
	if rate.Every <= 0 || rate.Burst <= 0 {
		log.Fatal("-every and -burst must be positive")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("http://%s/ answers %d requests at once and then one each %v", l.Addr(), rate.Burst, rate.Every)
	if err := serve(ctx, l, *data, rate); err != nil {
		log.Fatal(err)
	}
}

// grace is how long requests that run may take when the program is stopped.
const grace = 10 * time.Second

func serve(ctx context.Context, l net.Listener, dir string, rate Rate) error {
	s, err := pebblestore.Open(dir, nil)
	if err != nil {
		l.Close()
		return err
	}
	rt, err := durable.Open(s, &durable.Options{Classes: []durable.Class{Buckets(rate)}})
	if err != nil {
		return errors.Join(err, s.Close(), l.Close())
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello\n") })
	srv := &http.Server{Handler: Limit(rt.Namespace("Bucket"), ByAddress, hello), ReadHeaderTimeout: grace}
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
