package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

const (
	asWorker    = "RESPOOL_EXAMPLE_WORKER" // set in its environment, the program is a worker
	ready       = "ready"                  // the first line of a worker
	errorPrefix = "error: "                // of an answer that refuses the question
)

// serve is what a worker does: it answers a line of numbers with their sum, and
// some words with misbehaviour. It returns at the end of its input.
func serve(in io.Reader, out io.Writer) {
	// A terminal sends the interrupt to every process of the group. When workers
	// end is the pool's to say.
	signal.Ignore(os.Interrupt)
	fmt.Fprintln(out, ready)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		switch line := lines.Text(); line {
		case "hang": // neither an answer nor an end
			for {
				time.Sleep(time.Hour)
			}
		case "crash": // instead of an answer
			os.Exit(3)
		case "retire": // after the answer, when the worker is idle
			fmt.Fprintln(out, "retiring")
			os.Exit(4)
		default:
			fmt.Fprintln(out, sum(line))
		}
	}
}

func sum(line string) string {
	total := 0
	for _, word := range strings.Fields(line) {
		n, err := strconv.Atoi(word)
		if err != nil {
			return errorPrefix + strconv.Quote(word) + " is not a number"
		}
		total += n
	}
	return strconv.Itoa(total)
}
