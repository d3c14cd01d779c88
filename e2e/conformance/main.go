// Command conformance serves the fixtures of @modelcontextprotocol/conformance through the
// handler of package calmcp, both eras on one endpoint, with sessions in durable objects in
// memory. It is a test: nothing of it is in the product.
//
//	go run ./e2e/conformance            prints the URL to give to the suite's --url
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"

	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on, of this machine")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *addr); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	link := new(calmcp.Link)
	rt, err := durable.Open(memstore.New(nil), &durable.Options{Classes: calmcp.Classes(link), Logger: log})
	if err != nil {
		return err
	}
	defer rt.Close()
	f := new(fixtures)
	h := calmcp.NewHandler(rt, &calmcp.HandlerOptions{Link: link, Server: f.server, Logger: log})
	defer h.Close()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: local(h.MCP())}
	go func() {
		<-ctx.Done()
		h.Close()
		srv.Close()
	}()
	fmt.Printf("http://%s/mcp\n", l.Addr())
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// local lets in requests to and from this machine only; all are of one user. The product
// has its own check, in package worker.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin, err := url.Parse(r.Header.Get("Origin"))
		if err != nil || !loopback(r.Host) || origin.Host != "" && !loopback(origin.Host) {
			http.Error(w, "this server is for its own machine", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r.WithContext(calmcp.WithUser(r.Context(), "me")))
	})
}

func loopback(host string) bool {
	name := (&url.URL{Host: host}).Hostname()
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}
