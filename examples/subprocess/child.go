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
	asWorker    = "RESPOOL_EXAMPLE_WORKER" // if set in the environment, the program is a worker
	ready       = "ready"                  // the first line of a worker
	errorPrefix = "error: "                // of an answer that rejects the question
)

// serve runs a worker: it answers a line of numbers with their sum, and misbehaves on some
// words. It returns at the end of its input.
func serve(in io.Reader, out io.Writer) {
	// A terminal sends the interrupt to every process of the group, but the pool decides
	// when workers end.
	signal.Ignore(os.Interrupt)
	fmt.Fprintln(out, ready)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		switch line := lines.Text(); line {
		case "hang": // no answer and no exit
			for {
				time.Sleep(time.Hour)
			}
		case "crash": // exit without an answer
			os.Exit(3)
		case "retire": // exit after the answer, when the worker is idle
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
