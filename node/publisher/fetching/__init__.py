"""Downloading content from strangers: several sources at once, each block checked, nothing fetched twice."""
