// A mid service on net/http: each route calls the next service in a way of its own, from goroutines.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// call is what a route does for the request with this id.
type call func(w http.ResponseWriter, id string) error

func main() {
	next := newNext(os.Getenv("NEXT"))
	pool := newPool(next)
	lookup := &lookup{next: next}
	routes := map[string]call{
		"one":    func(_ http.ResponseWriter, id string) error { return next.leaf(id, 0) },
		"seq":    func(_ http.ResponseWriter, id string) error { return next.sequence(id, 0, 3) },
		"par":    func(_ http.ResponseWriter, id string) error { return next.parallel(id, 0, 3) },
		"mix":    next.mix,
		"timer":  next.timer,
		"pool":   func(_ http.ResponseWriter, id string) error { return pool.leaf(id) },
		"shared": func(_ http.ResponseWriter, id string) error { return lookup.then(id) },
		"late":   lookup.late,
		"retry":  next.retry,
		"stream": next.stream,
		"poll":   next.poll,
	}
	if pause, err := strconv.Atoi(os.Getenv("JOB_MS")); err == nil {
		go next.job(time.Duration(pause) * time.Millisecond)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), handler(routes)))
}

// handler finds the route by the path's first part; its second is the id.
func handler(routes map[string]call) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			return
		}
		name, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		route, found := routes[name]
		if !found {
			http.NotFound(w, r)
			return
		}
		if err := route(w, id); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintln(w, id)
	}
}
