// Package fleet shares one upstream quota among many processes.
package fleet
