DROP TABLE debtor_info_fetch;
DROP TABLE debtor_locator_claim;
DROP TABLE debtor_info_document;
