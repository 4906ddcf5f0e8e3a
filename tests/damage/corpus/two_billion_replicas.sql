-- exit 2: 2,000,000,000 replicas
UPDATE run SET value = '2000000000' WHERE key = 'num_replicas';
