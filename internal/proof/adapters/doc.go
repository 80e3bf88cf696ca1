// Package adapters runs package policytest on the adapters of package policy, each with the
// library that it is made for. It contains only tests, and is in this module so that the
// libraries are not requirements of another.
package adapters
