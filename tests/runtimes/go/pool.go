package main

import (
	"os"
	"sync"
)

// pool is a few goroutines that make the calls of all requests.
type pool struct {
	next  *next
	jobs  chan job
	begin sync.Once
}

type job struct {
	id   string
	done chan error
}

// workers of the pool.
const workers = 8

// newPool makes a pool whose workers begin now, or, with POOL=lazy, within the first request that has a job for them.
func newPool(next *next) *pool {
	p := &pool{next: next, jobs: make(chan job, workers)}
	if os.Getenv("POOL") != "lazy" {
		p.begin.Do(p.start)
	}
	return p
}

func (p *pool) start() {
	for i := 0; i < workers; i++ {
		go p.work()
	}
}

func (p *pool) work() {
	for job := range p.jobs {
		job.done <- p.next.leaf(job.id, 0)
	}
}

// leaf hands the call to a worker and awaits it.
func (p *pool) leaf(id string) error {
	p.begin.Do(p.start)
	done := make(chan error, 1)
	p.jobs <- job{id, done}
	return <-done
}
