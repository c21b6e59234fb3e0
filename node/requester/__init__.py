"""The job creator's side: post a job, choose a provider, follow it, verify what it delivers, and pay."""
