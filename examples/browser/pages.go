package main

import (
	"fmt"
	"net/http"
	"path"
	"strconv"
)

// pages serves the pages. Each has its own colour.
type pages struct{}

func (pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(path.Base(r.URL.Path))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, `<!doctype html><title>%d</title><body style="margin:0;height:100vh;background:%s">`, n, colour(n))
}

// colour returns the n-th CSS colour; all are different up to n = 16 million.
func colour(n int) string { return fmt.Sprintf("#%06x", n*10007387%(1<<24)) }
