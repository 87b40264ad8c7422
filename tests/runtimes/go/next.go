package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

// next is the service that this one calls.
type next struct {
	base   string
	client http.Client
}

func newNext(base string) *next {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// The default keeps two: of a hundred calls at once, most would open a connection.
	transport.MaxIdleConnsPerHost = 100
	transport.DisableKeepAlives = os.Getenv("KEEPALIVE") == "0"
	if limit, err := strconv.Atoi(os.Getenv("LIMIT")); err == nil {
		transport.MaxConnsPerHost = limit
	}
	return &next{base: base, client: http.Client{Transport: transport}}
}

// get makes one call; status is what the next service has to answer.
func (n *next) get(path string, status int) error {
	response, err := n.client.Get(n.base + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != status {
		return fmt.Errorf("%s: %s", path, response.Status)
	}
	return nil
}

func (n *next) leaf(id string, k int) error {
	return n.get(fmt.Sprintf("/leaf/%s/%d", id, k), http.StatusOK)
}

func (n *next) sequence(id string, from, to int) error {
	for k := from; k < to; k++ {
		if err := n.leaf(id, k); err != nil {
			return err
		}
	}
	return nil
}

func (n *next) parallel(id string, from, to int) error {
	done := make(chan error, to-from)
	for k := from; k < to; k++ {
		go func(k int) { done <- n.leaf(id, k) }(k)
	}
	var first error
	for k := from; k < to; k++ {
		if err := <-done; err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (n *next) mix(_ http.ResponseWriter, id string) error {
	if err := n.leaf(id, 0); err != nil {
		return err
	}
	return n.parallel(id, 1, 4)
}

func (n *next) timer(_ http.ResponseWriter, id string) error {
	time.Sleep(5 * time.Millisecond)
	return n.leaf(id, 0)
}

func (n *next) retry(_ http.ResponseWriter, id string) error {
	if err := n.get("/fail/"+id+"/0", http.StatusServiceUnavailable); err != nil {
		return err
	}
	return n.leaf(id, 1)
}

func (n *next) stream(w http.ResponseWriter, id string) error {
	for k := 0; k < 2; k++ {
		fmt.Fprintln(w, "chunk", k)
		w.(http.Flusher).Flush()
		if err := n.leaf(id, k); err != nil {
			return err
		}
	}
	return nil
}

// poll waits for an event that a timer fires.
func (n *next) poll(_ http.ResponseWriter, id string) error {
	event := make(chan struct{})
	time.AfterFunc(20*time.Millisecond, func() { close(event) })
	<-event
	return n.leaf(id, 0)
}

// job calls on nobody's behalf, for as long as the service runs.
func (n *next) job(pause time.Duration) {
	for k := 0; ; k++ {
		time.Sleep(pause)
		_ = n.leaf(fmt.Sprintf("job-%d", k), 0)
	}
}
